import * as path from "node:path";
import { type ModelDescription, type ModelKind } from "../local/image/model-server";
import { checkoutRoot } from "../local/paths";
import { pythonEnvironment } from "../local/python";
import { lastLines, run } from "../local/run";
import { logToStderr } from "./rendered-stack";

export type ModelAnswer = ModelDescription | { readonly problem: string; readonly fix: string };

/**
 * Loads a model in the Python environment of the sample API's tests and lets it answer once.
 *
 * @param sample its input as JSON: an object of feature → number, or a list; undefined: zeros
 */
export async function describeModel(file: string, kind: ModelKind, sample: object | undefined): Promise<ModelAnswer> {
    const requirements = path.join(checkoutRoot, "examples", "mf-demo", "requirements-test.txt");
    const python = await pythonEnvironment(requirements, { log: logToStderr });
    const script = path.join(checkoutRoot, "local", "image", "model-server", "describe.py");
    const args = ["-B", script, kind, file, ...(sample === undefined ? [] : [JSON.stringify(sample)])];
    const { stdout, stderr, failure } = await run(python, args, {
        // It has no business with what this shell knows, such as the log-in of a cloud.
        variables: {
            PATH: process.env["PATH"],
            HOME: "/nonexistent",
            ORT_DISABLE_TELEMETRY: "1",
            OMP_NUM_THREADS: "1",
        },
        timeLimit: 120_000,
    });
    if (failure !== undefined)
        return {
            problem: `loading it ${failure}`,
            fix: lastLines(stderr, 3) || "load it in a Python shell to see why",
        };
    return JSON.parse(stdout) as ModelAnswer;
}
