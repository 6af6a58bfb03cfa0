import * as pulumi from "@pulumi/pulumi";
import { SECRET } from "../changes/redaction";
import type { ObjectsByName } from "./object-names";
import type { RenderedObject } from "./render";

/**
 * The objects of a release as the inputs of a resource of their own: Pulumi then shows in every preview, field by field, what
 * becomes of each of them, and keeps them in its state to compare with. It deploys nothing. What a chart renders into a Secret
 * is kept apart, encrypted: a preview says that it changes, and nothing more.
 */
export class RenderedObjects extends pulumi.ComponentResource {
    /**
     * @param objects must wait for the release, so that a failed update leaves the objects of the last good one in the state
     */
    constructor(name: string, objects: pulumi.Output<ObjectsByName>, opts: pulumi.ComponentResourceOptions) {
        const secretData = objects.apply((all) => {
            const data = Object.entries(all).flatMap(([key, object]) =>
                secretFields(object).map((field) => [key, field]),
            );
            return data.length === 0 ? undefined : pulumi.secret(JSON.stringify(data));
        });
        super("ml-api:index:RenderedObjects", name, { objects: objects.apply(withoutSecretData), secretData }, opts);
        this.registerOutputs({});
    }
}

const SECRET_FIELDS = ["data", "stringData"];

function secretFields(object: RenderedObject): [string, unknown][] {
    if (object.kind !== "Secret") return [];
    return Object.entries(object).filter(([field]) => SECRET_FIELDS.includes(field));
}

function withoutSecretData(objects: ObjectsByName): ObjectsByName {
    const hidden = (value: unknown): unknown =>
        typeof value === "object" && value !== null
            ? Object.fromEntries(Object.keys(value).map((key) => [key, SECRET]))
            : SECRET;
    return Object.fromEntries(
        Object.entries(objects).map(([name, object]) => [
            name,
            { ...object, ...Object.fromEntries(secretFields(object).map(([field, value]) => [field, hidden(value)])) },
        ]),
    );
}
