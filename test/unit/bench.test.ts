import { expect } from "chai";
import { highest, rateOf } from "../../bench/serving/load";
import { parts } from "../../bench/trace";

describe("a bench", () => {
    it("finds the highest rate that is answered well, from any side, and overruns a server by half at most", async () => {
        for (const from of [0, 10, 30]) {
            const asked: number[] = [];
            const rung = await highest(from, (rate) => {
                asked.push(rate);
                return Promise.resolve(rate <= 200);
            });
            expect(rateOf(rung)).to.be.at.most(200);
            expect(rateOf(rung + 1)).to.be.above(200);
            if (from < 30) expect(Math.max(...asked)).to.be.below(300);
        }
        expect(await highest(5, () => Promise.resolve(false))).to.equal(-1);
    });

    it("counts each moment of a traced run once", () => {
        const span = (name: string, from: number, to: number) => {
            return { name, startTimeUnixNano: `${from}000000000`, endTimeUnixNano: `${to}000000000` };
        };
        const spans = [
            span("pulumi", 0, 20),
            span("newPlugin", 1, 3),
            span("pulumirpc.LanguageRuntime/Run", 3, 18),
            // Two at the same time.
            span("pulumirpc.ResourceProvider/Invoke", 5, 8),
            span("pulumirpc.ResourceProvider/Invoke", 6, 9),
            span("pulumirpc.ResourceProvider/Check", 8, 10),
            span("pulumirpc.ResourceProvider/Update", 10, 16),
            span("pulumirpc.Engine/Log", 17, 18),
        ];
        const line = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] });
        expect(parts(`${line}\n`)).to.deep.equal({
            "start of plugins": 2,
            "program (Node)": 4,
            render: 4,
            "checks and diffs": 1,
            "Helm, with its wait": 6,
            engine: 3,
        });
    });
});
