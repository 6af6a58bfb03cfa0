import * as pulumi from "@pulumi/pulumi";
import { expect } from "chai";
import { completeArgs, type MlApiArgs } from "../../components/ml-api/args";
import { InputError } from "../../components/config/problem";
import { scratch } from "./local-fakes";

describe("the arguments of MlApi", () => {
    const problems = (args: MlApiArgs, resource = "churn"): string[] => {
        try {
            completeArgs(resource, args);
            return [];
        } catch (error) {
            if (!(error instanceof InputError)) throw error;
            return error.problems.map(({ where }) => where);
        }
    };

    it("have defaults for all: names of the resource and the stack, the chart beside the component", () => {
        const complete = completeArgs("churn", {});
        expect(complete).to.deep.include({
            ...{ name: "churn", namespace: `churn-${pulumi.getStack()}`, createNamespace: true, protect: false },
            ...{ keyGeneration: 1, acceptPreviousKey: false, chart: "./chart", values: {} },
        });
        expect(complete.origin.file).to.equal("the values of churn");
    });

    it("lay values over those of a file, and know the lines of these", () => {
        const folder = scratch();
        folder.file("v.yaml", "environment: dev\nimage:\n  tag: '1'\n  repository: a\n");
        const file = `${folder.path}/v.yaml`;
        const { values, origin } = completeArgs("churn", { valuesFile: file, values: { image: { tag: "2" } } });
        expect(values).to.deep.equal({ environment: "dev", image: { tag: "2", repository: "a" } });
        expect(origin.places.get("image.repository")).to.equal(`${file}:4`);
        folder.remove();
    });

    it("are refused all at once, each by its name", () => {
        const wrong: MlApiArgs = {
            ...{ name: "Churn", namespace: "kube-public", keyGeneration: 1, acceptPreviousKey: true, apiKey: "k" },
            ...{
                valuesFile: "no/such.yaml",
                values: { image: { tag: pulumi.output("1") }, env: [NaN, () => 1, new Map()] },
            },
        };
        expect(problems(wrong)).to.deep.equal([
            ...["name", "namespace", "acceptPreviousKey", "previousApiKey"],
            ...["values.image.tag", "values.env[0]", "values.env[1]", "values.env[2]", "no/such.yaml"],
        ]);
        expect(() => completeArgs("churn", wrong)).to.throw("values.image.tag: it is an Output or a Promise");
        expect(problems({ keyGeneration: 1.5 })).to.deep.equal(["keyGeneration"]);
        expect(problems({ previousApiKey: "k" })).to.deep.equal(["previousApiKey"]);
        expect(problems({}, "A resource's name")).to.deep.equal(["name"]);
        expect(problems({ createNamespace: false, namespace: "default" })).to.deep.equal([]);
    });

    it("leave out a value that is not there, as JSON does", () => {
        expect(completeArgs("churn", { values: { a: undefined, b: { c: undefined } } }).values).to.deep.equal({
            b: {},
        });
    });
});
