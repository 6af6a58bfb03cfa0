import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { isMap, isSeq, LineCounter, parseDocument } from "yaml";
import { checkoutRoot } from "../local/paths";
import type { Finding } from "./scanner";

/** A finding that is kept, and why. */
export interface Exception {
    readonly scanner: string;
    readonly check: string;
    /** Pattern for `Finding.object`; `*` stands for any text. */
    readonly object: string;
    /** Names of renders; absent = in all of them. */
    readonly in?: readonly string[];
    /** Names of renders that it does not hold for. */
    readonly notIn?: readonly string[];
    /** Words of the finding's message, where one check says several things. */
    readonly message?: string;
    readonly reason: string;
    /** "scan/exceptions.yaml:12" */
    readonly place: string;
}

export const exceptionsFile = join(checkoutRoot, "scan", "exceptions.yaml");

const required = ["scanner", "check", "object", "reason"];
const lists = ["in", "notIn"];
const allowed = [...required, ...lists, "message"];

/** Reads the exceptions. @throws an Error that names all faults with their lines */
export function readExceptions(file: string = exceptionsFile): readonly Exception[] {
    const lines = new LineCounter();
    const document = parseDocument(readFileSync(file, "utf8"), { lineCounter: lines });
    const name = relative(checkoutRoot, file);
    const faults = document.errors.map(({ message }) => `${name}: ${message}`);
    const items = isSeq(document.contents) ? document.contents.items : [];
    if (faults.length === 0 && !isSeq(document.contents)) faults.push(`${name}: a list is expected`);
    const exceptions = items.flatMap((item) => {
        const start = isMap(item) ? item.range[0] : undefined;
        const place = `${name}:${start === undefined ? 1 : lines.linePos(start).line}`;
        const fields: Readonly<Record<string, unknown>> = isMap(item) ? (item.toJSON() as Record<string, unknown>) : {};
        const wrong = [
            ...required.filter((key) => typeof fields[key] !== "string" || fields[key] === ""),
            ...Object.keys(fields).filter((key) => !allowed.includes(key)),
            ...lists.filter((key) => key in fields && !isTexts(fields[key])),
            ...("message" in fields && typeof fields["message"] !== "string" ? ["message"] : []),
        ];
        if (wrong.length > 0) {
            faults.push(
                `${place}: wrong, unknown or missing: ${wrong.join(", ")}. An exception has the texts ${required.join(", ")}, and may have in and notIn (lists) and message.`,
            );
            return [];
        }
        return [{ ...fields, place } as Exception];
    });
    if (faults.length > 0) throw new Error(faults.join("\n"));
    return exceptions;
}

export interface Sorted {
    readonly kept: readonly Finding[];
    readonly open: readonly Finding[];
    /** Exceptions that no finding needs. */
    readonly stale: readonly Exception[];
}

/** Which of a scanner's findings the exceptions cover, and which exceptions cover none. */
export function sortFindings(scanner: string, findings: readonly Finding[], exceptions: readonly Exception[]): Sorted {
    const own = exceptions.filter((exception) => exception.scanner === scanner);
    const covers = (finding: Finding) => (exception: Exception) =>
        exception.check === finding.check &&
        pattern(exception.object).test(finding.object) &&
        (exception.in?.includes(finding.render ?? "") ?? true) &&
        !(exception.notIn?.includes(finding.render ?? "") ?? false) &&
        finding.message.includes(exception.message ?? "");
    return {
        kept: findings.filter((finding) => own.some(covers(finding))),
        open: findings.filter((finding) => !own.some(covers(finding))),
        stale: own.filter((exception) => !findings.some((finding) => covers(finding)(exception))),
    };
}

function pattern(text: string): RegExp {
    const literals = text.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${literals.join(".*")}$`);
}

function isTexts(value: unknown): boolean {
    return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "string");
}
