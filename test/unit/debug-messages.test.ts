import { log } from "@pulumi/pulumi";
import { expect } from "chai";

describe("debug messages of the SDK", () => {
    const sdk = log as { debug: (message: string) => Promise<void> };
    const original = sdk.debug;
    const sent: string[] = [];
    before(() => {
        sdk.debug = (message) => Promise.resolve(void sent.push(message));
        // eslint-disable-next-line @typescript-eslint/no-require-imports -- loading it is what it does
        require("../../components/debug-messages");
    });
    after(() => {
        sdk.debug = original;
    });

    it("do not carry the engine's answers, in which secrets stand in clear", async () => {
        await sdk.debug("RegisterResource RPC finished: resource:x[a:b:C]; err: null, resp: urn:x,,data,\nkey,canary");
        await sdk.debug("Invoke RPC finished: tok=a:b:c; err: Error: no, resp: canary");
        await sdk.debug("Registering resource: t=a:b:C");
        expect(sent).to.deep.equal([
            "RegisterResource RPC finished: resource:x[a:b:C]; err: null, resp: [not shown]",
            "Invoke RPC finished: tok=a:b:c; err: Error: no, resp: [not shown]",
            "Registering resource: t=a:b:C",
        ]);
    });
});
