{{/* Names and labels -------------------------------------------------------------------------------------------- */}}

{{/* One name for Deployment, Service and ServiceAccount: the release's own. */}}
{{- define "ml-api.name" -}}
{{ .Release.Name }}
{{- end -}}

{{/* Name and namespace in an object's metadata. Quoted: "on" and "1e3" are names, too. */}}
{{- define "ml-api.identity" -}}
name: {{ include "ml-api.name" . | quote }}
namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{/* What a selector matches: never changes during the life of a release. */}}
{{- define "ml-api.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: api
{{- end -}}

{{/* The labels of a test pod: another component, so that the Service never sends it a request. */}}
{{- define "ml-api.testLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end -}}

{{/* Labels of an object's own metadata only. The chart's version stays out of the pods: a chart update restarts nothing. */}}
{{- define "ml-api.chartLabels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Image --------------------------------------------------------------------------------------------------------- */}}

{{- define "ml-api.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}{{ with $image.tag }}:{{ . }}{{ end }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default "latest" }}
{{- end -}}
{{- end -}}

{{/* "true" if the image may be another one tomorrow under the same name. */}}
{{- define "ml-api.imageMoves" -}}
{{- if and (not .Values.image.digest) (eq (.Values.image.tag | default "latest") "latest") -}}true{{- end -}}
{{- end -}}

{{/* A moving image is asked for at each start, except one that only the nodes have (localhost/). */}}
{{- define "ml-api.imagePullPolicy" -}}
{{- if and (include "ml-api.imageMoves" .) (not (hasPrefix "localhost/" .Values.image.repository)) -}}
Always
{{- else -}}
IfNotPresent
{{- end -}}
{{- end -}}

{{/* Quantities ---------------------------------------------------------------------------------------------------- */}}

{{/* CPU quantity (text or number) to thousandths of a core. */}}
{{- define "ml-api.milliCpu" -}}
{{- $quantity := toString . -}}
{{- if hasSuffix "m" $quantity -}}
{{ trimSuffix "m" $quantity }}
{{- else -}}
{{ mulf (float64 $quantity) 1000.0 | ceil | int64 }}
{{- end -}}
{{- end -}}

{{/* Memory or disk quantity to bytes. */}}
{{- define "ml-api.bytes" -}}
{{- $factors := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 -}}
{{- $unit := regexFind "[A-Za-z]+$" . -}}
{{ mulf (float64 (trimSuffix $unit .)) (float64 (get $factors $unit)) | ceil | int64 }}
{{- end -}}

{{- define "ml-api.memoryLimit" -}}
{{ .Values.resources.limits.memory | default .Values.resources.requests.memory }}
{{- end -}}

{{/* /tmp and the container's logs (the kubelet keeps about 50 Mi of them), with room to spare. */}}
{{- define "ml-api.ephemeralStorage" -}}
{{ add (divf (include "ml-api.bytes" .Values.tmp.size | int64) 1048576 | ceil | int64) 128 }}Mi
{{- end -}}

{{/* One computing thread per whole core that the pod may count on. More would fight for the same CPU time. */}}
{{- define "ml-api.threads" -}}
{{- $cpu := .Values.resources.limits.cpu | default .Values.resources.requests.cpu -}}
{{ max 1 (div (include "ml-api.milliCpu" $cpu | int64) 1000) }}
{{- end -}}

{{/* Timing -------------------------------------------------------------------------------------------------------- */}}

{{/*
Every time of the chart, in seconds, as JSON. Two values decide: R = api.requestTimeoutSeconds and
L = model.loadBudgetSeconds; N = replicas. Each number and the ones that must stay below it:

preStop           15                  until each node has stopped sending to the pod; 5 s was seen to lose requests
gracefulShutdown  R + 5               the server finishes what it has accepted                              > R
gracePeriod       preStop + gracefulShutdown + 10   the kubelet's countdown includes preStop                > both
keepAlive         75                  longer than a proxy keeps an idle connection (60 s is the common one)
startupPeriod     2                   short, so that a small model serves as soon as it can
startupFailures   ceil(L / 2)         so startupPeriod * startupFailures >= L
minReady          5                   a pod that dies right after its first prediction does not count
progressDeadline  start-up budget + minReady + gracePeriod + 120
                  the longest between two steps of a rollout: place the pod and pull its image (120), load, stay
                  ready; on a full cluster also wait until the pod before it has drained (gracePeriod)
releaseTimeout    N * progressDeadline + gracePeriod + 30
                  what `helm --wait` needs. With maxSurge 1 and maxUnavailable 0 an upgrade is N steps, one after the
                  other, and each may take up to the progress deadline. So Helm never gives up on a rollout that the
                  cluster still calls progressing; then the last old pod drains, and 30 are for Helm's own requests
testDeadline      2R + 190            place and pull as above, ask for readiness (60) and twice for a prediction (R + 5 each)
*/}}
{{- define "ml-api.timing" -}}
{{- $requestTimeout := .Values.api.requestTimeoutSeconds | int64 -}}
{{- $placeAndPull := 120 -}}
{{- $preStop := 15 -}}
{{- $gracefulShutdown := add $requestTimeout 5 -}}
{{- $gracePeriod := add $preStop $gracefulShutdown 10 -}}
{{- $startupPeriod := 2 -}}
{{- $startupFailures := div (add (int64 .Values.model.loadBudgetSeconds) $startupPeriod -1) $startupPeriod -}}
{{- $startupBudget := mul $startupPeriod $startupFailures -}}
{{- $minReady := 5 -}}
{{- $progressDeadline := add $startupBudget $minReady $gracePeriod $placeAndPull -}}
{{- dict
  "preStop" $preStop
  "gracefulShutdown" $gracefulShutdown
  "gracePeriod" $gracePeriod
  "keepAlive" 75
  "startupPeriod" $startupPeriod
  "startupFailures" $startupFailures
  "startupBudget" $startupBudget
  "minReady" $minReady
  "progressDeadline" $progressDeadline
  "releaseTimeout" (add (mul (int64 .Values.replicas) $progressDeadline) $gracePeriod 30)
  "testDeadline" (add $placeAndPull 60 (mul 2 (add $requestTimeout 5)))
  | toJson -}}
{{- end -}}

{{/* The same numbers for people and for the deploying program. On the Deployment, not on the pods: they change nothing there. */}}
{{- define "ml-api.timingAnnotations" -}}
{{- $timing := include "ml-api.timing" . | fromJson -}}
ml-api/pre-stop-seconds: {{ $timing.preStop | int64 | quote }}
ml-api/graceful-shutdown-seconds: {{ $timing.gracefulShutdown | int64 | quote }}
ml-api/grace-period-seconds: {{ $timing.gracePeriod | int64 | quote }}
ml-api/keep-alive-seconds: {{ $timing.keepAlive | int64 | quote }}
ml-api/startup-budget-seconds: {{ $timing.startupBudget | int64 | quote }}
ml-api/progress-deadline-seconds: {{ $timing.progressDeadline | int64 | quote }}
ml-api/release-timeout-seconds: {{ $timing.releaseTimeout | int64 | quote }}
ml-api/test-deadline-seconds: {{ $timing.testDeadline | int64 | quote }}
{{- end -}}

{{/* Environment --------------------------------------------------------------------------------------------------- */}}

{{- define "ml-api.keysFolder" -}}
/var/run/ml-api/keys
{{- end -}}

{{/* The variables that the image contract promises, name: text. Everything in `env` comes on top. */}}
{{- define "ml-api.contractEnv" -}}
{{- $timing := include "ml-api.timing" . | fromJson -}}
{{- $threads := include "ml-api.threads" . -}}
PORT: {{ .Values.api.port | int64 | quote }}
LOG_LEVEL: {{ .Values.api.logLevel | quote }}
REQUEST_TIMEOUT_SECONDS: {{ .Values.api.requestTimeoutSeconds | int64 | quote }}
MAX_CONCURRENT_REQUESTS: {{ .Values.api.maxConcurrentRequests | int64 | quote }}
MAX_REQUEST_BYTES: {{ .Values.api.maxRequestBytes | int64 | quote }}
API_KEYS_FILE: {{ ternary (printf "%s/keys" (include "ml-api.keysFolder" .)) "" .Values.apiKey.enabled | quote }}
UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN: {{ $timing.gracefulShutdown | int64 | quote }}
UVICORN_TIMEOUT_KEEP_ALIVE: {{ $timing.keepAlive | int64 | quote }}
OMP_NUM_THREADS: {{ $threads | quote }}
MKL_NUM_THREADS: {{ $threads | quote }}
OPENBLAS_NUM_THREADS: {{ $threads | quote }}
{{- end -}}

{{/* All variables of the API's container as a sorted list. */}}
{{- define "ml-api.env" -}}
{{- $env := include "ml-api.contractEnv" . | fromYaml -}}
{{- range $name, $text := .Values.env -}}
{{- if not (kindIs "invalid" $text) -}}{{- $_ := set $env $name $text -}}{{- end -}}
{{- end -}}
{{- range $name, $text := $env }}
- name: {{ $name | quote }}
  value: {{ include "ml-api.literal" $text | quote }}
{{- end }}
{{- end -}}

{{/* Text that Kubernetes must not expand: in a variable it reads $(NAME) as another one's value and $$ as $. */}}
{{- define "ml-api.literal" -}}
{{ replace "$" "$$" . }}
{{- end -}}

{{/* Pods: shared by the API and by the test ------------------------------------------------------------------------ */}}

{{/* Restricted Pod Security, pod level. No token: neither the API nor the test talks to the cluster. */}}
{{- define "ml-api.podSecurity" -}}
serviceAccountName: {{ include "ml-api.name" . | quote }}
automountServiceAccountToken: false
# A Service named "uvicorn" or "port" would otherwise put variables into the pod that the server reads as its own.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* Restricted Pod Security, container level. */}}
{{- define "ml-api.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
{{- end -}}

{{- define "ml-api.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmp.size | quote }}
{{- if .Values.apiKey.enabled }}
- name: keys
  secret:
    secretName: {{ .Values.apiKey.existingSecret | quote }}
    defaultMode: 288 # 0440: the group is fsGroup
    items:
      - key: keys
        path: keys
{{- end }}
{{- end -}}

{{- define "ml-api.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.apiKey.enabled }}
- name: keys
  mountPath: {{ include "ml-api.keysFolder" . }}
  readOnly: true
{{- end }}
{{- end -}}
