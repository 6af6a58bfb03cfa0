/** Golden files: the expected output, kept under version control and compared byte for byte. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, relative } from "node:path";
import { createTwoFilesPatch } from "diff";

export function updatesGolden(): boolean {
    const update = process.env.UPDATE_GOLDEN === "1";
    if (update && process.env.CI === "true") {
        throw new Error(
            "UPDATE_GOLDEN=1 in CI would approve whatever comes out: update on your machine and commit the diff.",
        );
    }
    return update;
}

/** Compares with the file, or writes it under UPDATE_GOLDEN=1. */
export function expectGolden(file: string, actual: string): void {
    if (updatesGolden()) {
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, actual);
        return;
    }
    const name = relative(process.cwd(), file);
    const hint = "If this is what you want: UPDATE_GOLDEN=1 and run the test again, then commit the difference.";
    if (!existsSync(file)) {
        throw new Error(`${name} does not exist. ${hint}`);
    }
    const expected = readFileSync(file, "utf8");
    if (expected !== actual) {
        throw new Error(`${name} differs. ${hint}\n${createTwoFilesPatch(name, "now", expected, actual)}`);
    }
}
