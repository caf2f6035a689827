// node run.mjs FOLDER: run the graphs of a folder on the inputs that its inputs.json names, and write their outputs.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as ort from "onnxruntime-web";

const folder = process.argv[2];
const { weights, graphs } = JSON.parse(await readFile(join(folder, "inputs.json"), "utf8"));
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

async function tensor({ file, dims }) {
  const bytes = Uint8Array.from(await readFile(join(folder, file)));
  return new ort.Tensor("float32", new Float32Array(bytes.buffer), dims);
}

const dims = {};
for (const [name, inputs] of Object.entries(graphs)) {
  const externalData = [];
  for (const path of weights) externalData.push({ path, data: await readFile(join(folder, path)) });
  const graph = await readFile(join(folder, `${name}.onnx`));
  const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"], externalData });
  const feeds = {};
  for (const [input, told] of Object.entries(inputs)) feeds[input] = await tensor(told);
  const results = await session.run(feeds);
  const output = results[session.outputNames[0]];
  const { buffer, byteOffset, byteLength } = output.data;
  await writeFile(join(folder, `${name}.output`), new Uint8Array(buffer, byteOffset, byteLength));
  dims[name] = output.dims;
  await session.release();
}
await writeFile(join(folder, "outputs.json"), JSON.stringify(dims));
