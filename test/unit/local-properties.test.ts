import * as sdk from "@pulumi/pulumi/runtime/rpc";
import { expect } from "chai";
import * as own from "../../local/plugins/rpc/properties";

describe("the property values of the stand-in providers", () => {
    it("carry the signatures that the SDK has", () => {
        const { specialSigKey, specialAssetSig, specialSecretSig, unknownValue } = sdk;
        expect(own).to.include({ specialSigKey, specialAssetSig, specialSecretSig, unknownValue });
    });
});
