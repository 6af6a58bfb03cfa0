import type * as grpc from "@grpc/grpc-js";
import { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import { ResourceProviderService } from "@pulumi/pulumi/proto/provider_grpc_pb";
import type * as messages from "@pulumi/pulumi/proto/provider_pb";
import {
    CheckFailure,
    CheckRequest,
    CheckResponse,
    ConfigureResponse,
    CreateResponse,
    DiffResponse,
    GetSchemaResponse,
    InvokeResponse,
    PropertyDiff,
    ProviderHandshakeResponse,
    ReadResponse,
    UpdateResponse,
} from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import type { Change, DetailedDiff } from "./detailed-diff";
import { isReplacement } from "./detailed-diff";
import { EngineLog } from "./engine";
import { Unimplemented } from "./failure";
import type { Properties } from "./properties";
import { fromStruct, toStruct } from "./properties";
import { engineAddress, servePlugin, unary } from "./serve";

export interface Failure {
    property: string;
    reason: string;
}

export interface CheckInput {
    urn: string;
    type: string;
    /** The resource's name in the program. */
    name: string;
    olds: Properties;
    news: Properties;
    /** The project's rule for objects that the program gives no name: the name to use, or that there is to be none. */
    autoname?: { proposed: string } | { disabled: true };
    /** The same for the preview and the update that follows it. */
    seed: Uint8Array;
}

export interface Diff {
    changes: DetailedDiff;
    deleteBeforeReplace?: boolean;
}

export interface Existing {
    id: string;
    urn: string;
    type: string;
    state: Properties;
    inputs: Properties;
}

/** What a provider does, on plain values instead of protocol messages. */
export interface ResourceProvider {
    /** The version of the published plugin that this one stands in for. */
    readonly version: string;
    configure(variables: ReadonlyMap<string, string>): Promise<void>;
    diffConfig?(olds: Properties, news: Properties): DetailedDiff;
    check(input: CheckInput): Promise<{ inputs: Properties; failures?: Failure[] }>;
    diff(input: Existing & { news: Properties; ignoreChanges: string[] }): Promise<Diff>;
    create(input: {
        urn: string;
        type: string;
        news: Properties;
        preview: boolean;
        timeoutSeconds: number;
    }): Promise<{ id: string; state: Properties }>;
    /** Undefined when the resource is gone. */
    read(input: Existing): Promise<{ id: string; state: Properties; inputs: Properties } | undefined>;
    update(input: Existing & { news: Properties; preview: boolean; timeoutSeconds: number }): Promise<Properties>;
    delete(input: Existing & { timeoutSeconds: number }): Promise<void>;
    invoke(token: string, args: Properties): Promise<Properties>;
    /** Ends what is under way in an orderly manner and refuses anything new. Returns when nothing is under way. */
    cancel(): Promise<void>;
}

const kinds: Record<Change["kind"], [PropertyDiff.Kind, PropertyDiff.Kind]> = {
    add: [PropertyDiff.Kind.ADD, PropertyDiff.Kind.ADD_REPLACE],
    update: [PropertyDiff.Kind.UPDATE, PropertyDiff.Kind.UPDATE_REPLACE],
    delete: [PropertyDiff.Kind.DELETE, PropertyDiff.Kind.DELETE_REPLACE],
};

function diffResponse({ changes, deleteBeforeReplace = false }: Diff): DiffResponse {
    const response = new DiffResponse();
    const { DIFF_NONE, DIFF_SOME } = DiffResponse.DiffChanges;
    response.setChanges(changes.size === 0 ? DIFF_NONE : DIFF_SOME);
    response.setReplacesList([...changes].filter(([, change]) => isReplacement(change)).map(([path]) => path));
    response.setDeletebeforereplace(deleteBeforeReplace);
    response.setHasdetaileddiff(changes.size > 0);
    for (const [path, change] of changes) {
        const entry = new PropertyDiff();
        entry.setKind(kinds[change.kind][change.replaces ? 1 : 0]);
        entry.setInputdiff(change.betweenInputs);
        response.getDetaileddiffMap().set(path, entry);
    }
    return response;
}

/** "urn:pulumi:stack::project::parent$package:module:Type::name" */
function typeOf(urn: string): string {
    return urn.split("::")[2]?.split("$").at(-1) ?? "";
}

function nameOf(urn: string): string {
    return urn.split("::").slice(3).join("::");
}

function existing(
    request: messages.ReadRequest | messages.DeleteRequest,
    state: Properties,
    inputs: Properties,
): Existing {
    return { id: request.getId(), urn: request.getUrn(), type: typeOf(request.getUrn()), state, inputs };
}

function checkInput(request: messages.CheckRequest): CheckInput {
    const autonaming = request.getAutonaming();
    const { DISABLE } = CheckRequest.AutonamingOptions.Mode;
    return {
        urn: request.getUrn(),
        type: typeOf(request.getUrn()),
        name: nameOf(request.getUrn()),
        olds: fromStruct(request.getOlds()),
        news: fromStruct(request.getNews()),
        seed: request.getRandomseed_asU8(),
        ...(autonaming !== undefined && {
            autoname:
                autonaming.getMode() === DISABLE ? { disabled: true } : { proposed: autonaming.getProposedName() },
        }),
    };
}

function unimplemented(method: string): grpc.handleUnaryCall<unknown, unknown> {
    return unary(() => {
        throw new Unimplemented(
            `the stand-in plugin does not implement ${method}: use the published plugin where this is needed`,
        );
    });
}

/** The gRPC service of a provider. */
export function serviceOf(provider: ResourceProvider, log: EngineLog): grpc.UntypedServiceImplementation {
    return {
        handshake: unary((request: messages.ProviderHandshakeRequest) => {
            log.connect(request.getEngineAddress());
            const response = new ProviderHandshakeResponse();
            response.setAcceptSecrets(true);
            response.setSupportsAutonamingConfiguration(true);
            return response;
        }),
        attach: unary(() => new Empty()),
        getPluginInfo: unary(() => {
            const info = new PluginInfo();
            info.setVersion(provider.version);
            return info;
        }),
        getSchema: unary(() => {
            const response = new GetSchemaResponse();
            response.setSchema("{}");
            return response;
        }),
        checkConfig: unary((request: messages.CheckRequest) => {
            const response = new CheckResponse();
            response.setInputs(request.getNews());
            return response;
        }),
        diffConfig: unary((request: messages.DiffRequest) => {
            const olds = fromStruct(request.getOldInputs() ?? request.getOlds());
            const changes = provider.diffConfig?.(olds, fromStruct(request.getNews()));
            return diffResponse({ changes: changes ?? new Map<string, Change>() });
        }),
        configure: unary(async (request: messages.ConfigureRequest) => {
            await provider.configure(new Map(request.getVariablesMap().toArray()));
            const response = new ConfigureResponse();
            response.setAcceptsecrets(true);
            response.setSupportspreview(true);
            response.setSupportsAutonamingConfiguration(true);
            return response;
        }),
        check: unary(async (request: messages.CheckRequest) => {
            const { inputs, failures = [] } = await provider.check(checkInput(request));
            const response = new CheckResponse();
            response.setInputs(toStruct(inputs));
            response.setFailuresList(
                failures.map(({ property, reason }) => {
                    const failure = new CheckFailure();
                    failure.setProperty(property);
                    failure.setReason(reason);
                    return failure;
                }),
            );
            return response;
        }),
        diff: unary(async (request: messages.DiffRequest) =>
            diffResponse(
                await provider.diff({
                    id: request.getId(),
                    urn: request.getUrn(),
                    type: typeOf(request.getUrn()),
                    state: fromStruct(request.getOlds()),
                    inputs: fromStruct(request.getOldInputs()),
                    news: fromStruct(request.getNews()),
                    ignoreChanges: request.getIgnorechangesList(),
                }),
            ),
        ),
        create: unary(async (request: messages.CreateRequest) => {
            const { id, state } = await provider.create({
                urn: request.getUrn(),
                type: typeOf(request.getUrn()),
                news: fromStruct(request.getProperties()),
                preview: request.getPreview(),
                timeoutSeconds: request.getTimeout(),
            });
            const response = new CreateResponse();
            response.setId(id);
            response.setProperties(toStruct(state));
            return response;
        }),
        read: unary(async (request: messages.ReadRequest) => {
            const found = await provider.read(
                existing(request, fromStruct(request.getProperties()), fromStruct(request.getInputs())),
            );
            const response = new ReadResponse();
            if (found === undefined) return response;
            response.setId(found.id);
            response.setProperties(toStruct(found.state));
            response.setInputs(toStruct(found.inputs));
            return response;
        }),
        update: unary(async (request: messages.UpdateRequest) => {
            const state = await provider.update({
                id: request.getId(),
                urn: request.getUrn(),
                type: typeOf(request.getUrn()),
                state: fromStruct(request.getOlds()),
                inputs: fromStruct(request.getOldInputs()),
                news: fromStruct(request.getNews()),
                preview: request.getPreview(),
                timeoutSeconds: request.getTimeout(),
            });
            const response = new UpdateResponse();
            response.setProperties(toStruct(state));
            return response;
        }),
        delete: unary(async (request: messages.DeleteRequest) => {
            await provider.delete({
                ...existing(request, fromStruct(request.getProperties()), fromStruct(request.getOldInputs())),
                timeoutSeconds: request.getTimeout(),
            });
            return new Empty();
        }),
        invoke: unary(async (request: messages.InvokeRequest) => {
            const response = new InvokeResponse();
            response.setReturn(toStruct(await provider.invoke(request.getTok(), fromStruct(request.getArgs()))));
            return response;
        }),
        cancel: unary(() => {
            // The engine only announces its wish here: what is under way answers for itself when it has ended.
            void provider.cancel();
            return new Empty();
        }),
        parameterize: unimplemented("Parameterize"),
        call: unimplemented("Call"),
        list: unimplemented("List"),
        construct: unimplemented("Construct"),
        getMapping: unimplemented("GetMapping"),
        getMappings: unimplemented("GetMappings"),
    };
}

/** Serves a provider until the engine ends it. */
export async function serveProvider(
    args: readonly string[],
    make: (log: EngineLog) => ResourceProvider,
): Promise<void> {
    const log = new EngineLog(engineAddress(args));
    const provider = make(log);
    const service = ResourceProviderService as grpc.ServiceDefinition;
    await servePlugin(service, serviceOf(provider, log), () => provider.cancel());
}
