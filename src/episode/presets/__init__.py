"""Settings that come with the package, one TOML file each; read by `episode.config.load_preset`."""
