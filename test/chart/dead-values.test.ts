import { expect } from "chai";
import { itThoroughly } from "../thorough";
import { effects, triesFor, type Effect } from "./effects";
import { leafKeys, nameOf } from "./keys";

/** Keys of which no change by itself is rendered, because a rule refuses each, and why. */
const onlyRefused: Readonly<Record<string, string>> = {
    "autoscaling.engine": "metrics belong to hpa, triggers to keda: the examples have some of either",
    "model.memory": "it decides whether the memory limit is large enough",
    "model.download.unpack": "it goes together with `file`: one of the two is set, never both",
};

/** Keys without any effect on what the chart does, and why they are there. */
const declared: Readonly<Record<string, string>> = {
    "global.renderDigest": "read by Helm alone: another value makes an upgrade out of unchanged values",
    "global.repair": "the same",
};

describe(`chart: values without effect (${leafKeys.length} values)`, function () {
    this.timeout(300_000);

    async function keysWith(kind: Effect["kind"]): Promise<string[]> {
        return [...(await effects()).effects].filter(([, effect]) => effect.kind === kind).map(([key]) => nameOf(key));
    }

    it("finds another valid value for each key, in an example that shows it", () => {
        const without = leafKeys.filter((key) => triesFor(key).length === 0);
        expect(without.map(nameOf), "add an example to chart/ci/, or a value to `texts`").to.deep.equal([]);
    });

    itThoroughly("has none: each changes what is rendered in an example", async () => {
        expect(leafKeys.length).to.be.at.least(90);
        expect((await effects()).renders).to.be.at.least(leafKeys.length);
        expect(await keysWith("is refused"), "every change that was tried is refused").to.deep.equal(
            Object.keys(onlyRefused),
        );
        expect(await keysWith("none"), "dead, but for the declared ones").to.deep.equal(Object.keys(declared));
    });
});
