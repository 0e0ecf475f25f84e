// Numbers sort by data-order, what is not defined stays last either way; the third click restores the first order.
const last = (sign) => (a, b) =>
  a === null || b === null ? (a === null) - (b === null) : sign * (a - b);
Object.assign(DataTable.ext.type.order, {
  "defined-pre": (text) => (text === "" ? null : Number(text)),
  "defined-asc": last(1),
  "defined-desc": last(-1),
});
for (const table of document.querySelectorAll("table.sortable")) {
  new DataTable(table, {
    autoWidth: false,
    columnDefs: [
      { targets: "number", type: "defined" },
      { targets: "word", type: "string" },
      { targets: "_all", orderSequence: ["asc", "desc", ""] },
    ],
    info: false,
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    order: [],
    ordering: { indicators: true, handler: true },
    orderClasses: false,
    paging: false,
    searching: false,
  });
}
document.documentElement.dataset.sortable = "yes";
