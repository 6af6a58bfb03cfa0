import { generateKeyPairSync } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { execute } from "./program";

/** Who a certificate names, and for servers at which addresses. */
interface Subject {
    readonly commonName: string;
    readonly organization?: string;
    readonly server?: readonly string[];
}

export interface PkiPlan {
    readonly nodeName: string;
    readonly nodeAddress: string;
    readonly serviceAddress: string;
    readonly openssl: string;
    readonly variables: Readonly<Record<string, string>>;
}

const days = "3650";
const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** Each part of the cluster has an identity of its own, with the rights Kubernetes gives that part and no more. */
function subjects(plan: PkiPlan): Readonly<Record<string, Subject>> {
    return {
        "kube-apiserver": {
            commonName: "kube-apiserver",
            server: [
                `IP:${plan.nodeAddress}`,
                `IP:${plan.serviceAddress}`,
                "IP:127.0.0.1",
                ...["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(
                    (name) => `DNS:${name}`,
                ),
                "DNS:kubernetes.default.svc.cluster.local",
            ],
        },
        "kubelet-server": { commonName: plan.nodeName, server: [`IP:${plan.nodeAddress}`, `DNS:${plan.nodeName}`] },
        "kubelet-client": { commonName: "kube-apiserver-kubelet-client", organization: "system:masters" },
        "front-proxy": { commonName: "front-proxy-client" },
        admin: { commonName: "local-admin", organization: "system:masters" },
        "kube-controller-manager": { commonName: "system:kube-controller-manager" },
        "kube-scheduler": { commonName: "system:kube-scheduler" },
        kubelet: { commonName: `system:node:${plan.nodeName}`, organization: "system:nodes" },
        "kube-proxy": { commonName: "system:kube-proxy" },
        coredns: { commonName: "system:coredns" },
    };
}

/** Makes the cluster's authority, certificates and keys once; the folder is there whole or not at all. */
export async function ensurePki(folder: string, plan: PkiPlan): Promise<void> {
    if (
        await fs.access(folder).then(
            () => true,
            () => false,
        )
    ) {
        return;
    }
    const partial = `${folder}.partial`;
    await fs.rm(partial, { recursive: true, force: true });
    await fs.mkdir(partial, { recursive: true, mode: 0o700 });
    await fs.writeFile(path.join(partial, "openssl.cnf"), authoritySettings);
    await openssl(
        plan,
        partial,
        "req",
        "-x509",
        ...newKey,
        "-days",
        days,
        "-config",
        "openssl.cnf",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    );
    for (const [name, subject] of Object.entries(subjects(plan))) {
        await fs.writeFile(path.join(partial, `${name}.cnf`), settings(subject));
        await openssl(
            plan,
            partial,
            "req",
            "-new",
            ...newKey,
            "-config",
            `${name}.cnf`,
            "-keyout",
            `${name}.key`,
            "-out",
            `${name}.csr`,
        );
        await openssl(
            plan,
            partial,
            ...[
                "x509",
                "-req",
                "-in",
                `${name}.csr`,
                "-CA",
                "ca.crt",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                days,
            ],
            ...["-extfile", `${name}.cnf`, "-extensions", "extensions", "-out", `${name}.crt`],
        );
    }
    const account = generateKeyPairSync("rsa", { modulusLength: 2048 });
    await fs.writeFile(
        path.join(partial, "service-account.key"),
        account.privateKey.export({ type: "pkcs1", format: "pem" }),
    );
    for (const file of await fs.readdir(partial)) {
        await (/\.(csr|cnf|srl)$/.test(file)
            ? fs.rm(path.join(partial, file))
            : fs.chmod(path.join(partial, file), 0o600));
    }
    await fs.rename(partial, folder);
}

const authoritySettings = `[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = ml-api-local-node
[extensions]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
`;

function settings({ commonName, organization, server }: Subject): string {
    return [
        "[req]",
        "prompt = no",
        "distinguished_name = name",
        "[name]",
        `CN = ${commonName}`,
        ...(organization === undefined ? [] : [`O = ${organization}`]),
        "[extensions]",
        "basicConstraints = CA:false",
        "keyUsage = critical,digitalSignature,keyEncipherment",
        `extendedKeyUsage = ${server === undefined ? "clientAuth" : "serverAuth"}`,
        ...(server === undefined ? [] : [`subjectAltName = ${server.join(",")}`]),
        "",
    ].join("\n");
}

function openssl(plan: PkiPlan, cwd: string, ...args: readonly string[]): Promise<unknown> {
    return execute(plan.openssl, args, { timeLimit: 30_000, cwd, variables: plan.variables });
}
