# `make demo` and `make test` need Python >= 3.11 and nothing else: they set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EPISODE_DATA ?= ../shared/data
GENOME := $(EPISODE_DATA)/hg19.chr20_chr22part_chrX70M.fa.gz
RESULTS := benchmarks/results
COMPACT := $(BIN)/python benchmarks/compact.py
WORLDS := label concept both
WORLD_SEED := 11
WORLD_METHODS := episode,shortcut,ctcf_convergence
DOMAIN_KL_METHODS := episode,shortcut,cross_attention,decoupled

.PHONY: help install demo demo-seeds test test-all torture check format clean benchmark benchmark-l benchmark-b benchmark-t benchmark-shared benchmark-worlds benchmark-attribution benchmark-page benchmark-speed

help:
	@echo "make demo        simulate, train, predict unseen cell lines, evaluate: demo-out/"
	@echo "make demo-seeds  the same with five seeds, and a table: demo-seeds-out/"
	@echo "make test        all tests but the slow ones: some minutes"
	@echo "make test-all    all tests, with kills, clusters, trainings by several processes and a browser: up to 20 minutes"
	@echo "make torture     broken, odd and hostile inputs, each with its verdict: some 10 minutes"
	@echo "make benchmark   real pairs in EPISODE_DATA under all protocols, then simulated worlds: benchmarks/results/"
	@echo "make benchmark-speed  what it costs, held against the bars: benchmarks/results/speed.json, docs/speed.md"
	@echo "make check       formatting, lint, types, import rules"
	@echo "make format      rewrite the code as the formatter wants it"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(STAMP)
	rm -rf demo-out
	$(BIN)/episode demo --out demo-out --seed 0

demo-seeds: $(STAMP)
	rm -rf demo-seeds-out
	$(BIN)/episode demo --out demo-seeds-out --seeds 0,1,2,3,4

benchmark: benchmark-l benchmark-b benchmark-t benchmark-shared benchmark-worlds benchmark-attribution benchmark-page

benchmark-l: $(STAMP)
	mkdir -p $(RESULTS)
	$(BIN)/episode compare L $(EPISODE_DATA)/hic_loops/pairs.tsv.gz --genome $(GENOME) --out benchmark-out/protocol_l
	$(BIN)/episode compare L $(EPISODE_DATA)/hic_loops/pairs.tsv.gz --genome $(GENOME) --out benchmark-out/protocol_l \
	  --methods episode_distance
	$(COMPACT) benchmark-out/protocol_l/results.json $(RESULTS)/protocol_l.json.gz
	$(BIN)/episode compare L $(EPISODE_DATA)/hic_loops/pairs.tsv.gz --genome $(GENOME) \
	  --out benchmark-out/protocol_l_channels_2 --methods episode --set impedance.channels=2 \
	  --set environment.student=network --set crossfit.groups=0
	$(COMPACT) benchmark-out/protocol_l_channels_2/results.json $(RESULTS)/protocol_l_channels_2.json.gz

benchmark-b: $(STAMP)
	mkdir -p $(RESULTS)
	$(BIN)/episode compare B $(EPISODE_DATA)/bengi/*.tsv.gz --genome $(GENOME) --out benchmark-out/protocol_b
	$(COMPACT) benchmark-out/protocol_b/results.json $(RESULTS)/protocol_b.json.gz

benchmark-t: $(STAMP)
	mkdir -p $(RESULTS)
	$(BIN)/episode compare T $(EPISODE_DATA)/targetfinder/pairs.tsv.gz --genome $(GENOME) --out benchmark-out/protocol_t
	$(COMPACT) benchmark-out/protocol_t/results.json $(RESULTS)/protocol_t.json.gz

benchmark-shared: $(STAMP)
	mkdir -p $(RESULTS)
	$(BIN)/episode compare shared-loci $(EPISODE_DATA)/bengi/*.tsv.gz --genome $(GENOME) --out benchmark-out/shared_loci
	$(BIN)/episode compare shared-loci $(EPISODE_DATA)/bengi/*.tsv.gz --genome $(GENOME) --out benchmark-out/shared_loci \
	  --methods matched
	$(COMPACT) benchmark-out/shared_loci/results.json $(RESULTS)/shared_loci.json.gz
	$(BIN)/episode compare shared-loci-loops $(EPISODE_DATA)/hic_loops/pairs.tsv.gz --genome $(GENOME) \
	  --out benchmark-out/shared_loci_loops
	$(BIN)/episode compare shared-loci-loops $(EPISODE_DATA)/hic_loops/pairs.tsv.gz --genome $(GENOME) \
	  --out benchmark-out/shared_loci_loops --methods matched
	$(COMPACT) benchmark-out/shared_loci_loops/results.json $(RESULTS)/shared_loci_loops.json.gz

benchmark-worlds: $(STAMP)
	mkdir -p benchmark-out $(RESULTS)
	for world in $(WORLDS); do \
	  test -d benchmark-out/$$world || $(BIN)/episode simulate --world $$world --seed $(WORLD_SEED) --out benchmark-out/$$world && \
	  $(BIN)/episode compare simulated benchmark-out/$$world/pairs.tsv --genome benchmark-out/$$world/genome.fa \
	    --truth benchmark-out/$$world/truth --out benchmark-out/world_$$world --methods $(WORLD_METHODS) && \
	  $(COMPACT) benchmark-out/world_$$world/results.json $(RESULTS)/world_$$world.json.gz || exit 1; \
	done
	$(BIN)/episode compare simulated benchmark-out/both/pairs.tsv --genome benchmark-out/both/genome.fa \
	  --truth benchmark-out/both/truth --out benchmark-out/world_both --methods ablation
	$(COMPACT) benchmark-out/world_both/results.json $(RESULTS)/world_both.json.gz
	test -d benchmark-out/rerank || $(BIN)/episode simulate --world rerank --seed $(WORLD_SEED) --out benchmark-out/rerank
	$(BIN)/episode compare simulated benchmark-out/rerank/pairs.tsv --genome benchmark-out/rerank/genome.fa \
	  --truth benchmark-out/rerank/truth --out benchmark-out/world_rerank --methods $(WORLD_METHODS) --set impedance.channels=2 \
	  --set environment.student=network
	$(COMPACT) benchmark-out/world_rerank/results.json $(RESULTS)/world_rerank.json.gz
	test -d benchmark-out/tissues || \
	  $(BIN)/episode simulate --preset domain-kl --format domain-kl --seed $(WORLD_SEED) --out benchmark-out/tissues
	$(BIN)/episode compare domain-kl benchmark-out/tissues --truth benchmark-out/tissues/truth \
	  --out benchmark-out/domain_kl_simulated --methods $(DOMAIN_KL_METHODS)
	$(COMPACT) benchmark-out/domain_kl_simulated/results.json $(RESULTS)/domain_kl_simulated.json.gz

benchmark-attribution: $(STAMP)
	mkdir -p benchmark-out $(RESULTS)
	test -d benchmark-out/world_both/runs || $(MAKE) benchmark-worlds
	$(BIN)/python benchmarks/attribution.py benchmark-out/world_both/runs/episode/seed0/test/run \
	  benchmark-out/world_both/dataset benchmark-out/both/truth $(RESULTS)/attribution_both.json \
	  --cache benchmark-out/world_both/store
	test -d benchmark-out/domain_kl_simulated/runs || $(MAKE) benchmark-worlds
	$(BIN)/python benchmarks/attribution.py benchmark-out/domain_kl_simulated/runs/episode/seed0/test/run \
	  benchmark-out/domain_kl_simulated/dataset benchmark-out/tissues/truth $(RESULTS)/attribution_domain_kl.json \
	  --cache benchmark-out/domain_kl_simulated/store

benchmark-page: $(STAMP)
	$(BIN)/python benchmarks/read_out.py $(RESULTS)

benchmark-speed: $(STAMP)
	rm -rf benchmark-out/speed
	EPISODE_DATA=$(EPISODE_DATA) $(BIN)/python benchmarks/speed.py

# Two workers: each takes half, in order, for what tests of a module share, and who has ended takes from the other.
test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow"

test-all: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

# TABLE=docs/some.md writes the table of verdicts; ONLY=tables runs one topic.
torture: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m torture $(if $(ONLY),--only $(ONLY)) $(if $(TABLE),--table $(TABLE))

check: $(STAMP)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf $(VENV) demo-out demo-seeds-out benchmark-out test-output
