import { InputError } from "../components/config/problem";
import { apiKeySecretName } from "../components/ml-api/values";

/** What a stack file says of the API key. */
export interface WantedKeys {
    readonly name: string;
    readonly keyGeneration: number;
    readonly acceptPreviousKey: boolean;
}

/** `begin` ends when both keys are valid, `finish` when only the new one is. */
export type Goal = "begin" | "finish";

/** What is still to be done for a goal. */
export interface Plan {
    /** What the stack file has to say first; undefined when it says so already. */
    readonly edit?: { readonly keyGeneration: number; readonly acceptPreviousKey: boolean };
    readonly deploy: boolean;
    /** Where the rotation is, in a sentence. */
    readonly stand: string;
}

/**
 * The next step of a rotation, from what the stack file says and what runs. Both are looked at each time, so that a rotation goes on
 * where it was interrupted, and a step that is done is not done again.
 *
 * @param running name of the Secret whose keys the release accepts; undefined when nothing is deployed
 * @throws InputError when the two do not fit together
 */
export function planRotation(goal: Goal, wanted: WantedKeys, running: string | undefined, stackFile: string): Plan {
    const { keyGeneration: generation, acceptPreviousKey } = wanted;
    const both = apiKeySecretName({ ...wanted, acceptPreviousKey: true });
    const only = apiKeySecretName({ ...wanted, acceptPreviousKey: false });
    if (goal === "begin") {
        if (acceptPreviousKey)
            return running === both
                ? { deploy: false, stand: `key ${generation} and key ${generation - 1} are both valid` }
                : {
                      deploy: true,
                      stand: `${stackFile} asks for key ${generation} beside key ${generation - 1}; it is to be deployed`,
                  };
        if (running === only)
            return {
                edit: { keyGeneration: generation + 1, acceptPreviousKey: true },
                deploy: true,
                stand: `key ${generation} is the only one`,
            };
        if (running === both)
            throw mismatch(
                stackFile,
                `the rotation to key ${generation} is about to be finished: the stack file takes key ${generation - 1} away, and it is still accepted`,
                "finish it: npx --no ml-api rotate-key <env> --finish",
            );
    } else if (acceptPreviousKey) {
        if (running === both)
            return {
                edit: { keyGeneration: generation, acceptPreviousKey: false },
                deploy: true,
                stand: `key ${generation} and key ${generation - 1} are both valid`,
            };
        throw mismatch(
            stackFile,
            `key ${generation} is not deployed yet, so the old key is all that clients have`,
            "first: npx --no ml-api rotate-key <env>",
        );
    } else {
        if (running === only) return { deploy: false, stand: `key ${generation} is the only one` };
        if (running === both)
            return { deploy: true, stand: `${stackFile} takes key ${generation - 1} away; it is to be deployed` };
    }
    throw mismatch(
        stackFile,
        running === undefined
            ? "nothing is deployed, so there is no key to rotate"
            : `the stack file asks for ${only}, and ${running} runs: a deploy now would refuse the old key at once`,
        running === undefined
            ? "deploy first"
            : `put keyGeneration and acceptPreviousKey back to what runs, and begin again`,
    );
}

/** Where a rotation is, whatever the goal. */
export function standOf(wanted: WantedKeys, running: string | undefined, stackFile: string): string {
    const goals: readonly Goal[] = wanted.acceptPreviousKey ? ["begin", "finish"] : ["finish", "begin"];
    for (const goal of goals) {
        try {
            return planRotation(goal, wanted, running, stackFile).stand;
        } catch (error) {
            if (!(error instanceof InputError)) throw error;
            if (goal === goals.at(-1)) return error.problems[0]?.what ?? "";
        }
    }
    return "";
}

function mismatch(where: string, what: string, fix: string): InputError {
    return new InputError("key rotation", [{ where, what, fix }]);
}
