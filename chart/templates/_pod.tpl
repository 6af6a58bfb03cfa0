{{- define "ml-api.secretsFolder" }}/var/run/ml-api/secrets{{ end -}}

{{/* The variables that the image contract promises, name: text. `env` and `secrets` cannot have the same names. */}}
{{- define "ml-api.contractEnv" -}}
{{- $timing := include "ml-api.timing" . | fromJson -}}
{{- with .Values.api -}}
LOG_LEVEL: {{ .logLevel | quote }}
{{- range $variable, $number := dict "PORT" .port "REQUEST_TIMEOUT_SECONDS" .requestTimeoutSeconds "MAX_CONCURRENT_REQUESTS" .maxConcurrentRequests "MAX_REQUEST_BYTES" .maxRequestBytes "WEB_CONCURRENCY" .workers "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN" $timing.gracefulShutdown "UVICORN_TIMEOUT_KEEP_ALIVE" $timing.keepAlive }}
{{ $variable }}: {{ $number | int64 | quote }}
{{- end }}
{{- if gt (int64 .workers) 1 }}
# Each worker counts for itself; prometheus_client adds up what they write here.
PROMETHEUS_MULTIPROC_DIR: /dev/shm
{{- end }}{{ end }}
# A worker's sign of life goes to memory: on a busy disk it comes late, and gunicorn kills the worker.
GUNICORN_CMD_ARGS: {{ printf "--graceful-timeout %d --timeout %d --keep-alive %d --worker-tmp-dir /dev/shm" (int64 $timing.gracefulShutdown) (int64 $timing.workerTimeout) (int64 $timing.keepAlive) | quote }}
API_KEYS_FILE: {{ ternary "/var/run/ml-api/keys/keys" "" .Values.apiKey.enabled | quote }}
{{- $threads := include "ml-api.threads" . }}
{{- range list "OMP_NUM" "MKL_NUM" "OPENBLAS_NUM" "NUMEXPR_NUM" "RAYON_NUM" "VECLIB_MAXIMUM" "TF_NUM_INTRAOP" "TF_NUM_INTEROP" }}
{{ . }}_THREADS: {{ $threads | quote }}
{{- end }}
{{- range ternary (list "HF_HUB_OFFLINE" "TRANSFORMERS_OFFLINE" "HF_DATASETS_OFFLINE" "HF_HUB_DISABLE_TELEMETRY" "ORT_DISABLE_TELEMETRY" "DO_NOT_TRACK") list .Values.model.offline }}
{{ . }}: "1"
{{- end }}
{{ include "ml-api.model.env" . }}
{{- end -}}

{{/* What `secrets` asks for, as a JSON list: each entry with its name, whether it is a file, and the variable that the API gets. */}}
{{- define "ml-api.secrets" -}}
{{- $secrets := list -}}
{{- range $name, $from := .Values.secrets }}{{ with $from -}}
{{- $isFile := eq (.as | default "file") "file" -}}
{{- $secrets = append $secrets (merge (dict "name" $name "isFile" $isFile "variable" (ternary (printf "%s_FILE" $name) $name $isFile)) .) -}}
{{- end }}{{ end -}}
{{ toJson $secrets }}
{{- end -}}

{{/* All variables of the API's container as a sorted list, those out of Secrets at its end. */}}
{{- define "ml-api.env" -}}
{{- $env := merge (include "ml-api.contractEnv" . | fromYaml) (.Files.Get "files/default-variables.yaml" | fromYaml) -}}
{{- range $name, $text := .Values.env }}{{ if not (kindIs "invalid" $text) }}{{ $_ := set $env $name $text }}{{ end }}{{ end -}}
{{- $secrets := include "ml-api.secrets" . | fromJsonArray -}}
{{- range $secrets }}{{ $_ := unset $env .variable }}{{ end -}}
{{- range $name, $text := $env }}
- { name: {{ $name | quote }}, value: {{ include "ml-api.literal" $text | quote }} }
{{- end }}
{{- range $secrets }}
{{- if .isFile }}
- { name: {{ .variable | quote }}, value: {{ printf "%s/%s" (include "ml-api.secretsFolder" $) .name | quote }} }
{{- else }}
- { name: {{ .variable | quote }}, valueFrom: { secretKeyRef: { name: {{ .secret | quote }}, key: {{ .key | quote }} } } }
{{- end }}{{ end }}
{{- end -}}

{{/* Text that Kubernetes must not expand: in a variable it reads $(NAME) as another one's value and $$ as $. */}}
{{- define "ml-api.literal" }}{{ replace "$" "$$" . }}{{ end -}}

{{/* Restricted Pod Security of the API's pod and the Jobs'. No token: none talks to the cluster. */}}
{{- define "ml-api.podSecurity" -}}
serviceAccountName: {{ .Release.Name | quote }}
automountServiceAccountToken: false
# A Service named "uvicorn" or "port" would otherwise put variables into the pod that the server reads as its own.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # The kubelet does not walk through a whole volume of models at each start.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- $pullSecrets := list -}}
{{- range $name, $wanted := .Values.image.pullSecrets }}{{ if $wanted }}{{ $pullSecrets = append $pullSecrets (dict "name" $name) }}{{ end }}{{ end -}}
{{- with $pullSecrets }}{{ printf "\nimagePullSecrets: %s" (toJson .) }}{{ end }}
{{- end -}}

{{/* Restricted Pod Security of a container. */}}
{{- define "ml-api.containerSecurity" -}}
securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
{{- end -}}

{{- define "ml-api.keysVolume" -}}
{{- if .Values.apiKey.enabled -}}
# 288 is 0440: the group is fsGroup.
- name: keys
  secret: { secretName: {{ .Values.apiKey.existingSecret | quote }}, defaultMode: 288, items: [{ key: keys, path: keys }] }
{{- end -}}
{{- end -}}

{{- define "ml-api.keysVolumeMount" }}{{ if .Values.apiKey.enabled }}- { name: keys, mountPath: /var/run/ml-api/keys, readOnly: true }{{ end }}{{ end -}}

{{/* What a pod read out of Secrets has no other trace in it; another text here restarts it. */}}
{{- define "ml-api.podAnnotations" -}}
{{- if .Values.apiKey.enabled }}
ml-api/key-generation: {{ .Values.apiKey.generation | int64 | quote }}
{{- end }}
{{- $versions := dict -}}
{{- range include "ml-api.secrets" . | fromJsonArray }}{{ if .version }}{{ $_ := set $versions .name .version }}{{ end }}{{ end -}}
{{- with $versions }}
ml-api/secret-versions: {{ toJson . | quote }}
{{- end }}
{{- end -}}

{{- define "ml-api.podSpec" -}}
{{ include "ml-api.podSecurity" . }}
terminationGracePeriodSeconds: {{ (include "ml-api.timing" . | fromJson).gracePeriod | int64 }}
{{- if .Values.gpu.count }}
{{- with .Values.gpu.runtimeClass }}
runtimeClassName: {{ . | quote }}
{{- end }}
tolerations: [{ key: {{ .Values.gpu.type | quote }}, operator: Exists, effect: NoSchedule }]
{{- with include "ml-api.entries" .Values.gpu.nodeLabels }}
nodeSelector: {{ . }}
{{- end }}
{{- end }}
topologySpreadConstraints:
  # Each version is spread by itself, else the pods that are about to go would decide where the new ones land.
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - { topologyKey: {{ . }}, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway, matchLabelKeys: [pod-template-hash], labelSelector: { matchLabels: {{ include "ml-api.selectorLabels" (list $ "api") }} } }
  {{- end }}
volumes:
  - { name: tmp, emptyDir: { sizeLimit: {{ .Values.storage.tmp | quote }} } }
  - { name: cache, emptyDir: { sizeLimit: {{ .Values.storage.cache | quote }} } }
  - { name: shared-memory, emptyDir: { medium: Memory, sizeLimit: {{ .Values.storage.sharedMemory | quote }} } }
  {{- with include "ml-api.keysVolume" . }}{{ . | nindent 2 }}{{ end }}
  {{- $files := list -}}
  {{- range include "ml-api.secrets" . | fromJsonArray }}{{ if .isFile }}{{ $files = append $files (dict "secret" (dict "name" .secret "items" (list (dict "key" .key "path" .name)))) }}{{ end }}{{ end }}
  {{- with $files }}
  - { name: secrets, projected: { defaultMode: 288, sources: {{ toJson . }} } }
  {{- end }}
  {{- with include "ml-api.model.volumes" . }}{{ . | nindent 2 }}{{ end }}
{{- with include "ml-api.model.initContainers" . }}
initContainers:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What the API's container may use; the one that fetches the model gets the same. */}}
{{- define "ml-api.resources" -}}
requests: { cpu: {{ .Values.resources.requests.cpu | quote }}, memory: {{ .Values.resources.requests.memory | quote }}, ephemeral-storage: {{ include "ml-api.ephemeralStorage" . }} }
limits:
  memory: {{ include "ml-api.memoryLimit" . | quote }}
  ephemeral-storage: {{ include "ml-api.ephemeralStorage" . }}
  {{- with .Values.resources.limits.cpu }}
  cpu: {{ . | quote }}
  {{- end }}
{{- end -}}

{{- define "ml-api.apiContainer" -}}
{{- $timing := include "ml-api.timing" . | fromJson -}}
name: api
image: {{ include "ml-api.image" . | quote }}
imagePullPolicy: {{ include "ml-api.imagePullPolicy" . }}
{{ include "ml-api.containerSecurity" . }}
ports:
  - { name: http, containerPort: {{ .Values.api.port | int64 }}, protocol: TCP }
env:
  {{- include "ml-api.env" . | trim | nindent 2 }}
resources:
  {{- include "ml-api.resources" . | nindent 2 }}
  {{- if .Values.gpu.count }}
    {{ .Values.gpu.type | quote }}: {{ .Values.gpu.count | int64 | quote }}
  {{- end }}
# The time until every node has taken the pod out of its tables; new requests are still answered.
lifecycle: { preStop: { sleep: { seconds: {{ $timing.preStop | int64 }} } } }
# The only probe while the model loads: liveness and readiness start after it.
startupProbe:
  {{- if .Values.verify.warmUp }}
  exec:
    command:
      {{- include "ml-api.ask" (list . "warm-up" (printf "http://127.0.0.1:%d" (int64 .Values.api.port))) | nindent 6 }}
  {{- else }}
  httpGet: { path: {{ .Values.api.paths.ready | quote }}, port: http }
  {{- end }}
  periodSeconds: {{ $timing.startupPeriod | int64 }}
  timeoutSeconds: {{ $timing.startupTimeout | int64 }}
  failureThreshold: {{ $timing.startupFailures | int64 }}
readinessProbe: { httpGet: { path: {{ .Values.api.paths.ready | quote }}, port: http }, periodSeconds: 5, timeoutSeconds: 2, failureThreshold: 2 }
{{- with .Values.api.paths.live }}
# Patient and cheap: a restart costs a whole load of the model.
livenessProbe: { httpGet: { path: {{ . | quote }}, port: http }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 }
{{- end }}
volumeMounts:
  - { name: tmp, mountPath: /tmp }
  - { name: cache, mountPath: /var/cache/ml-api }
  - { name: shared-memory, mountPath: /dev/shm }
  {{- with include "ml-api.keysVolumeMount" . }}{{ . | nindent 2 }}{{ end }}
  {{- if regexMatch "\"isFile\":true" (include "ml-api.secrets" .) }}
  - { name: secrets, mountPath: {{ include "ml-api.secretsFolder" . }}, readOnly: true }
  {{- end }}
  {{- with include "ml-api.model.volumeMounts" . }}{{ . | nindent 2 }}{{ end }}
{{- end -}}

{{/* YAML text with a map of `merge` laid over it, (list text map): maps are merged, lists appended. */}}
{{- define "ml-api.merged" -}}
{{- $over := index . 1 -}}
{{- if $over -}}
{{- $below := index . 0 | fromYaml -}}
{{- $result := mergeOverwrite (deepCopy $below) (deepCopy $over) -}}
{{- range $key, $more := $over -}}
{{- $list := get $below $key | default list -}}
{{- if and (kindIs "slice" $more) (kindIs "slice" $list) }}{{ $_ := set $result $key (concat $list $more) }}{{ end -}}
{{- end -}}
{{ toYaml $result }}
{{- else }}{{ index . 0 }}{{ end -}}
{{- end -}}

{{/* The pods' template, (list root labels). */}}
{{- define "ml-api.podTemplate" -}}
{{- $root := index . 0 -}}
metadata:
  labels:
    {{- include "ml-api.podLabels" (list $root "api" (index . 1)) | nindent 4 }}
  {{- with include "ml-api.podAnnotations" $root | trim }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  {{- with $root.Values.merge }}
  {{- include "ml-api.merged" (list (include "ml-api.podSpec" $root) (omit .pod "containers")) | nindent 2 }}
  containers:
    - {{ include "ml-api.merged" (list (include "ml-api.apiContainer" $root) .container) | nindent 6 | trim }}
    {{- with .pod.containers }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- end }}
{{- end -}}

{{/* The label that tells this template's pods from those of another one, while both serve: Helm waits for the new, not until the old are gone. */}}
{{- define "ml-api.versionLabel" -}}
ml-api/pod-version: v{{ include "ml-api.podTemplate" (list . dict) | fromYaml | toJson | sha256sum | trunc 15 }}
{{- end -}}
