import { expect } from "chai";
import { accompany } from "../../components/guarded-release/accompany";
import type { Companion, Operation, Outcome } from "../../components/guarded-release/operation";

const never = <T>(): Promise<T> => new Promise<T>(() => undefined);
const FAILED: Outcome = { kind: "failed", errors: [] };

describe("companions of an operation", () => {
    const seen: string[] = [];
    const operation = {
        event: "update",
        inform: (text: string) => void seen.push(`inform ${text}`),
    } as unknown as Operation;
    const companion =
        (name: string): Companion =>
        () => {
            seen.push(`start ${name}`);
            const ended = (outcome: Outcome) => Promise.resolve(void seen.push(`${outcome.kind} ${name}`));
            return Promise.resolve({ ended });
        };
    const patience = { startMs: 20, endMs: 20 };
    beforeEach(() => {
        seen.length = 0;
    });

    it("start in their order and end in the opposite one, once", async () => {
        const end = await accompany(operation, [companion("a"), companion("b")], patience);
        await end({ kind: "succeeded" });
        await end(FAILED);
        expect(seen).to.deep.equal(["start a", "start b", "succeeded b", "succeeded a"]);
    });

    it("are ended when one of them refuses the operation", async () => {
        const refuses: Companion = () => Promise.reject(new Error("held"));
        const refused = await accompany(operation, [companion("a"), refuses, companion("c")], patience).then(
            () => "started",
            (error: unknown) => String(error),
        );
        expect(refused).to.equal("Error: held");
        expect(seen).to.deep.equal(["start a", "failed a"]);
    });

    it("that hang or fail hold nobody", async () => {
        const hangs: Companion = () => never();
        const hangsAtEnd: Companion = () => Promise.resolve({ ended: () => never() });
        const fails: Companion = () => Promise.resolve({ ended: () => Promise.reject(new Error("gone")) });
        const end = await accompany(operation, [companion("a"), hangs, hangsAtEnd, fails], patience);
        await end(FAILED);
        expect(seen).to.deep.equal(["start a", "inform after the update: gone", "failed a"]);
    });
});
