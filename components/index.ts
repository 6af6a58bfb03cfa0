import "./prelude/debug-messages";

// What programs import from the npm package. The program of this repository imports what it needs from the files themselves.
export type { ChartValues, MlApiArgs } from "./ml-api/args";
export { MlApi } from "./ml-api/ml-api";
