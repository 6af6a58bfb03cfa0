import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";

/** A certificate with its key, as PEM. */
export interface Identity {
    readonly certificate: string;
    readonly key: string;
}

/** A self-signed certificate for 127.0.0.1, valid for a day; it is its own authority. */
export function loopbackIdentity(commonName = "test"): Identity {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    const der = certificate(commonName, publicKey, privateKey);
    const body = der.toString("base64").replace(/.{64}/g, "$&\n");
    return {
        certificate: `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`,
        key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    };
}

/** X.509 version 3 in DER (RFC 5280). */
function certificate(commonName: string, publicKey: KeyObject, privateKey: KeyObject): Buffer {
    const algorithm = sequence(oid(1, 2, 840, 10045, 4, 3, 2)); // ecdsa-with-SHA256
    const name = sequence(tagged(0x31, sequence(oid(2, 5, 4, 3), tagged(0x0c, Buffer.from(commonName)))));
    const time = (offset: number) => {
        const text = new Date(Date.now() + offset).toISOString().replace(/[-:T]|\.\d+/g, "");
        return tagged(0x18, Buffer.from(text)); // GeneralizedTime
    };
    const extension = (id: Buffer, value: Buffer) => sequence(id, tagged(0x04, value));
    const loopback = tagged(0x87, Buffer.from([127, 0, 0, 1])); // iPAddress
    const isAuthority = sequence(tagged(0x01, Buffer.from([0xff])));
    const body = sequence(
        tagged(0xa0, tagged(0x02, Buffer.from([2]))),
        tagged(0x02, Buffer.from([1])),
        algorithm,
        name,
        sequence(time(-60_000), time(86_400_000)),
        name,
        publicKey.export({ type: "spki", format: "der" }),
        tagged(
            0xa3,
            sequence(extension(oid(2, 5, 29, 19), isAuthority), extension(oid(2, 5, 29, 17), sequence(loopback))),
        ),
    );
    const signature = sign("sha256", body, privateKey);
    return sequence(body, algorithm, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])));
}

function sequence(...parts: Buffer[]): Buffer {
    return tagged(0x30, Buffer.concat(parts));
}

function tagged(tag: number, content: Buffer): Buffer {
    const { length: size } = content;
    // The shortest form is the only one that Go takes.
    const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
    return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

function oid(first: number, second: number, ...rest: number[]): Buffer {
    const digits = (value: number): number[] =>
        value < 128 ? [value] : [...digits(value >> 7).map((digit) => digit | 0x80), value & 0x7f];
    return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(digits)]));
}
