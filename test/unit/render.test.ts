import * as pulumi from "@pulumi/pulumi";
import { expect } from "chai";
import { findAnnotation, render, type RenderedObject } from "../../components/guarded-release/render/render";

const ORIGIN = { file: "values-dev.yaml", places: new Map([["image.tag", "values-dev.yaml:7"]]) };
const ARGS = { chart: "./chart", releaseName: "a", namespace: "b", values: {}, origin: ORIGIN };

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
            const details = "execution error at (ml-api/templates/x.yaml:1:2): image.tag: is missing";
            throw Object.assign(new Error(), { details });
        });
        const error: unknown = await render(ARGS, {}).catch((reason: unknown) => reason);
        expect(pulumi.RunError.isInstance(error)).to.equal(true);
        expect((error as Error).message).to.equal(
            "the chart ./chart cannot be rendered with these values: 1 problem\n  values-dev.yaml:7: image.tag: is missing",
        );
    });

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
