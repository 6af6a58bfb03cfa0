import * as path from "node:path";
import { blockedProblems, readBlocked } from "./blocked";
import { InputError, type Problem } from "./problem";
import type { Settings } from "./settings";
import { readStack } from "./stack";
import { stackNames } from "./stack-file";
import { unusedValuesFiles } from "./unused-values-files";
import { adviceOnUnknownKey, readValuesSchema, unknownKeys, type ValuesSchema } from "./values-schema";

/**
 * Everything that is wrong with the stack files and values files of a project, without Pulumi, Helm or a cluster: what a stack
 * file may not say, keys that the chart does not have, digests that are blocked, and values files that no stack uses. Whether
 * values fit the chart otherwise, only its render says.
 *
 * @param root the project's root folder
 * @param chart the chart's folder, relative to it
 */
export function checkProject(root: string, chart = "chart"): Problem[] {
    const schema = readValuesSchema(path.join(root, chart));
    const list = readBlocked(root);
    const problems = stackNames(root).flatMap((stack): Problem[] => {
        try {
            const settings = readStack(root, stack);
            const blocked = blockedProblems(list, settings.values, settings.places, settings.valuesFile);
            return schema === undefined ? blocked : [...unknownValues(settings, schema), ...blocked];
        } catch (error) {
            if (error instanceof InputError) return [...error.problems];
            throw error;
        }
    });
    // Stacks that share a values file share its problems.
    const told = new Map(
        [...problems, ...unusedValuesFiles(root)].map((problem) => [JSON.stringify(problem), problem]),
    );
    return [...told.values()];
}

function unknownValues({ values, places, valuesFile }: Settings, schema: ValuesSchema): Problem[] {
    return unknownKeys(schema, values).map((key) => {
        const { meant, fix } = adviceOnUnknownKey(schema, key.slice(0, -1), key.at(-1) ?? "");
        const where = places.get(key.join(".")) ?? valuesFile;
        const what = `the chart has no key ${key.join(".")}${meant}`;
        return { where, what, ...(fix === undefined ? {} : { fix }) };
    });
}
