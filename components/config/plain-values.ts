import { Output } from "@pulumi/pulumi";
import type { Problem } from "./problem";
import { isValues, type Value, type Values } from "./values";

/**
 * Values that a program made, if they are plain: they are rendered in every preview, when an Output is unknown, and shown there, so
 * that none may be secret. What is not plain is added to the problems.
 *
 * @param where what the places in the problems begin with
 */
export function plainValues(given: Readonly<Record<string, unknown>>, where: string, problems: Problem[]): Values {
    const report = (at: string, what: string, fix?: string): null => {
        problems.push({ where: at, what, ...(fix === undefined ? {} : { fix }) });
        return null;
    };
    const plain = (value: unknown, at: string): Value => {
        if (value === null || typeof value === "string" || typeof value === "boolean") return value;
        if (typeof value === "number")
            return Number.isFinite(value) ? value : report(at, `${value} is no number to Helm`);
        if (Array.isArray(value)) return value.map((item, index) => plain(item, `${at}[${index}]`));
        if (Output.isInstance(value) || value instanceof Promise) {
            const fix = "give a plain value; a secret goes into a Kubernetes Secret that the values name";
            return report(at, "it is an Output or a Promise, which no preview can render", fix);
        }
        if (typeof value !== "object" || !PLAIN.includes(Object.getPrototypeOf(value) as object | null))
            return report(at, `a value cannot be a ${typeof value === "object" ? "class's object" : typeof value}`);
        // A key without a value is what JSON leaves out.
        const set = Object.entries(value).filter(([, inner]) => (inner as unknown) !== undefined);
        return Object.fromEntries(set.map(([key, inner]) => [key, plain(inner, `${at}.${key}`)]));
    };
    const made = plain(given, where);
    return isValues(made) ? made : {};
}

const PLAIN: readonly (object | null)[] = [Object.prototype, null];
