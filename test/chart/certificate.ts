/** A certificate of its own for a test's HTTPS server. Node reads certificates but makes none, so this writes the few bytes. */
import { generateKeyPairSync, sign } from "node:crypto";

export interface Certificate {
    readonly key: string;
    readonly cert: string;
}

/** Valid for a day, for one IPv4 address; who trusts it names it as an authority. */
export function selfSigned(address: string): Certificate {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const name = sequence(tagged(0x31, sequence(objectId("550403"), tagged(0x0c, Buffer.from("ml-api test")))));
    const ecdsaWithSha256 = sequence(objectId("2a8648ce3d040302"));
    const alternativeName = sequence(tagged(0x87, Buffer.from(address.split(".").map(Number))));
    const signed = sequence(
        tagged(0xa0, integer(2)),
        integer(1),
        ecdsaWithSha256,
        name,
        sequence(time(Date.now() - 3_600_000), time(Date.now() + 86_400_000)),
        name,
        publicKey.export({ type: "spki", format: "der" }),
        tagged(0xa3, sequence(sequence(objectId("551d11"), tagged(0x04, alternativeName)))),
    );
    const signature = tagged(0x03, Buffer.concat([Buffer.of(0), sign("sha256", signed, privateKey)]));
    const body = sequence(signed, ecdsaWithSha256, signature).toString("base64").replace(/.{64}/g, "$&\n");
    return {
        key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
        cert: `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`,
    };
}

function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
    const content = Buffer.concat(parts);
    // The shortest form: Go reads no other.
    const size = content.length;
    const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255];
    return Buffer.concat([Buffer.of(tag, ...length), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
    return tagged(0x30, ...parts);
}

function objectId(hex: string): Buffer {
    return tagged(0x06, Buffer.from(hex, "hex"));
}

function integer(value: number): Buffer {
    return tagged(0x02, Buffer.of(value));
}

function time(milliseconds: number): Buffer {
    const digits = new Date(milliseconds).toISOString().replace(/\D/g, "").slice(2, 14);
    return tagged(0x17, Buffer.from(`${digits}Z`));
}
