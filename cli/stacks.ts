import { stacksByEnvironment } from "../branching/map";
import { didYouMean } from "../components/config/nearest";
import { readStack } from "../components/config/stack";
import { stackFileName, stackNames as stackNamesIn } from "../components/config/stack-file";
import { checkoutRoot } from "../local/paths";

/** The stacks that have a stack file in the checkout, in alphabetical order. */
export function stackNames(): string[] {
    return stackNamesIn(checkoutRoot);
}

/** Refuses a stack without a stack file. */
export function checkStack(stack: string): void {
    const stacks = stackNames();
    if (!stacks.includes(stack))
        throw new Error(`there is no ${stackFileName(stack)}; the stacks are ${stacks.join(", ")}`);
}

/**
 * The one stack that a person means by its name, or by that of an environment with one stack.
 *
 * @param api only of this API, for an environment with several
 */
export function findStack(root: string, name: string, api?: string): string {
    const stacks = stackNamesIn(root);
    if (api === undefined && stacks.includes(name)) return name;
    const environments = stacksByEnvironment(root);
    const all = environments[name] ?? [];
    const [stack, ...others] = api === undefined ? all : all.filter((one) => readStack(root, one).name === api);
    if (stack === undefined && all.length > 0)
        throw new Error(`${name} has no stack of "${api ?? ""}"; its stacks are ${all.join(", ")}`);
    if (stack === undefined) {
        const known = [...new Set([...stacks, ...Object.keys(environments)])];
        throw new Error(
            `"${name}" is neither a stack nor an environment${didYouMean(name, known)}; the stacks are ${stacks.join(", ")}`,
        );
    }
    if (others.length > 0)
        throw new Error(
            `${name} is the environment of several stacks: ${[stack, ...others].join(", ")} → name one of them`,
        );
    return stack;
}
