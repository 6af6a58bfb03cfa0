import { expect } from "chai";
import { itThoroughly, thorough } from "../thorough";
import { skipWithoutNode, ownNode, type OwnNode } from "./own-node";
import {
    type Change,
    type Counted,
    nodeLearnsLateSeconds,
    type RolloutKind,
    rolloutKinds,
    Rollouts,
    shortcomings,
} from "./rollouts";

/** A shorter run shows one kind once, `make test-all` all of them twice. ROLLOUTS=image,keys narrows it to these. */
const asked = process.env["ROLLOUTS"]?.split(",");
const kinds: readonly RolloutKind[] =
    asked !== undefined
        ? rolloutKinds.filter((kind) => asked.includes(kind))
        : thorough
          ? rolloutKinds.flatMap((kind) => [kind, kind])
          : ["image"];

/**
 * The chart's own times on a real node: 61.5 requests a second, whatever happens to the pods, half of them on new connections
 * and half on kept ones, none tried again, long ones among them that are still being answered when their pod is told to end.
 */
describe("rollouts under load, on the local node", function () {
    this.timeout(300_000);
    let node: OwnNode | undefined;
    let rollouts: Rollouts | undefined;
    let learnInTime = (): void => undefined;
    const changes: [string, Change][] = [];

    before(async function () {
        await skipWithoutNode(this);
        // The first run of a machine downloads packages and builds tools and the image.
        this.timeout(3_600_000);
        node = await ownNode("rollouts test", "rollouts");
        rollouts = await Rollouts.start(node, "rollouts");
        learnInTime = await node.learnLate(nodeLearnsLateSeconds);
    });
    after(async () => {
        learnInTime();
        await rollouts?.stop();
        await node?.down();
    });

    const running = (): Rollouts => {
        if (rollouts === undefined) throw new Error("no load");
        return rollouts;
    };
    const told = (what: string, { requests, failed, inFlightAtEnd }: Counted): void => {
        process.stdout.write(
            `    ${what}: ${requests} requests, lost ${JSON.stringify(failed)}, in flight at the pods' ends ${inFlightAtEnd.join(", ")}\n`,
        );
    };

    for (const kind of kinds) {
        it(`go through: ${kind}`, async () => {
            changes.push([kind, await running().change(kind)]);
        });
    }

    itThoroughly(
        "go through back again from a version that fails its verification: it alone fails requests",
        async () => {
            const counted = await running().counted(await running().changeThatFails({}));
            told("a failed verification", counted);
            expect(Object.keys(counted.failed)).to.deep.equal(["status 500"]);
        },
    );

    itThoroughly("lose nothing when a candidate is asked first, and fails", async () => {
        const counted = await running().counted(await running().changeThatFails({ candidate: true }));
        told("a failed candidate", counted);
        expect(counted.failed).to.deep.equal({});
    });

    // A shorter run has the twin's (test/chart/drain.test.ts).
    itThoroughly("lose something without the pause before a pod's end, or nobody could tell", async () => {
        const counted = await running().counted(await running().changeWithoutPreStop());
        told("without preStop", counted);
        const lost = Object.values(counted.failed).reduce((sum, count) => sum + count, 0);
        expect(lost)
            .to.be.at.least(1)
            .and.below(counted.requests / 4);
    });

    it("lose no request", async () => {
        for (const [kind, change] of changes) {
            const counted = await running().counted(change);
            told(kind, counted);
            expect(counted.failed, `${kind}: ${JSON.stringify(counted.losses.slice(0, 20))}`).to.deep.equal({});
            expect(shortcomings(change, counted), kind).to.deep.equal([]);
        }
    });
});
