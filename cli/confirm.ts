import { createInterface } from "node:readline/promises";

/** Asks a person at a terminal; everybody else has to say `--yes`. @throws Error unless the answer is yes */
export async function confirm(question: string): Promise<void> {
    if (!process.stdin.isTTY)
        throw new Error("nothing was changed: there is no terminal to ask at → --yes goes on without asking");
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    const answer = await terminal.question(`${question} [y/N] `).finally(() => {
        terminal.close();
    });
    if (!/^y(?:es)?$/i.test(answer.trim())) throw new Error("nothing was changed");
}
