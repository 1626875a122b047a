// Graphviz in WebAssembly: each DOT file named becomes the SVG beside it.
import { readFileSync, writeFileSync } from "node:fs";
import { Graphviz } from "@hpcc-js/wasm-graphviz";

const graphviz = await Graphviz.load();
for (const dot of process.argv.slice(2)) {
  writeFileSync(dot.replace(/\.dot$/, ".svg"), graphviz.dot(readFileSync(dot, "utf-8")));
}
