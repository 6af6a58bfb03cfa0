import * as pulumi from "@pulumi/pulumi";
import { expect } from "chai";
import { chartMessage, findAnnotation, render, type RenderedObject } from "../../components/guarded-release/render";

const ARGS = { chart: "./chart", releaseName: "a", namespace: "b", values: {}, origin: "values-dev.yaml" };

async function withProvider(answer: () => object): Promise<void> {
    await pulumi.runtime.setMocks({ newResource: () => ({ id: "", state: {} }), call: answer });
}

describe("rendering a chart in the provider", () => {
    it("answers the objects", async () => {
        await withProvider(() => ({ result: [{ kind: "Service" }] }));
        expect(await render(ARGS, {})).to.deep.equal([{ kind: "Service" }]);
    });

    it("fails with the file to look at, and without the stack trace that a fault of the program would have", async () => {
        await withProvider(() => {
            throw new Error();
        });
        const error: unknown = await render(ARGS, {}).catch((reason: unknown) => reason);
        expect(pulumi.RunError.isInstance(error)).to.equal(true);
        expect((error as Error).message).to.match(
            /^values-dev\.yaml: the chart \.\/chart cannot be rendered with these values:/,
        );
    });

    for (const [message, own] of [
        [
            "2 UNKNOWN: invocation of kubernetes:helm:template returned an error: execution error at (ml-api/templates/validation.yaml:1:4): replicas: 0 is too few",
            "replicas: 0 is too few",
        ],
        [
            "invocation of kubernetes:helm:template returned an error: failed to generate YAML for specified Helm chart: failed to create chart from template: a: b",
            "a: b",
        ],
        ["anything else: a\nb", "anything else: a\n  b"],
    ] as const) {
        it(`peels the chart's own words out of: ${message.slice(0, 70)}…`, () => {
            expect(chartMessage(message)).to.equal(`  ${own}`);
        });
    }

    it("finds an annotation on whichever object carries it", () => {
        const object = (annotations?: Record<string, string>): RenderedObject => ({
            apiVersion: "v1",
            kind: "ConfigMap",
            metadata: { name: "x", ...(annotations === undefined ? {} : { annotations }) },
        });
        expect(findAnnotation([object(), object({ a: "1" })], "a")).to.equal("1");
        expect(findAnnotation([object()], "a")).to.equal(undefined);
    });
});
