import * as fs from "node:fs";
import { checkoutRoot } from "../local/paths";

/** The stacks that have a stack file in the checkout. */
export function stackNames(): string[] {
    return fs.readdirSync(checkoutRoot).flatMap((file) => /^Pulumi\.([^.]+)\.yaml$/.exec(file)?.[1] ?? []);
}

/** Refuses a stack without a stack file. */
export function checkStack(stack: string): void {
    const stacks = stackNames();
    if (!stacks.includes(stack))
        throw new Error(`there is no Pulumi.${stack}.yaml; the stacks are ${stacks.join(", ")}`);
}
