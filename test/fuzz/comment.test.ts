import { expect } from "chai";
import fc from "fast-check";
import { reportMarkdown } from "../../cli/diff-markdown";
import type { StackDiff } from "../../cli/diff-report";
import type { ObjectChange } from "../../components/guarded-release/changes/changes";
import { OURS, outsideCode } from "../unit/outside-code";

const anyText = fc.oneof(
    fc.string(),
    fc.string({ unit: "grapheme" }),
    fc.stringMatching(/^[`~\n <>/a-z![\]()@#*_|-]{0,60}$/),
    fc.constantFrom(
        "```",
        "````\n</details>",
        "<!-- x",
        "\n\n# x\n",
        "@team",
        "|x|",
        "<script>",
        "[a](http://b)",
        "~~~",
    ),
);
const anyChange: fc.Arbitrary<ObjectChange> = fc.record({
    name: anyText,
    action: fc.constantFrom("create", "update", "delete"),
    restartsPods: fc.boolean(),
    fields: fc.array(
        fc.record({
            path: fc.array(anyText, { minLength: 1, maxLength: 3 }),
            before: fc.option(fc.oneof(anyText, fc.jsonValue()), { nil: undefined }),
            after: fc.oneof(anyText, fc.jsonValue()),
        }),
        { maxLength: 4 },
    ),
});
const anyStack: fc.Arbitrary<StackDiff> = fc.record({
    stack: anyText,
    environment: anyText,
    release: anyText,
    namespace: anyText,
    against: anyText,
    state: fc.constantFrom("compared", "new", "gone", "no-base", "failed"),
    notes: fc.array(anyText, { maxLength: 2 }),
    problems: fc.array(
        fc.record({
            object: anyText,
            field: anyText,
            what: anyText,
            fix: anyText,
            blocking: fc.boolean(),
            serverKnows: fc.boolean(),
        }),
        { maxLength: 2 },
    ),
    objects: fc.array(anyChange, { maxLength: 4 }),
});

describe("the comment, whatever a chart renders,", () => {
    it("keeps every text inside code blocks and code spans", () => {
        fc.assert(
            fc.property(fc.array(anyStack, { maxLength: 3 }), anyText, (stacks, subject) => {
                const comment = reportMarkdown({ base: undefined, stacks }, subject);
                for (const line of outsideCode(comment)) expect(line).to.match(OURS);
            }),
            { numRuns: 500 },
        );
    });
});
