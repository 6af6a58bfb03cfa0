{{/* Metadata of an object, named after the release, (list root component labels): component is api or a Job's; labels are those by which another program finds the object. */}}
{{- define "ml-api.metadata" -}}
{{- $root := index . 0 -}}
{{- $chart := printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- /* Quoted: "on" and "1e3" are names, too. */ -}}
name: {{ ternary $root.Release.Name (printf "%s-%s" $root.Release.Name (index . 1)) (eq (index . 1) "api") | quote }}
namespace: {{ $root.Release.Namespace | quote }}
{{- /* The chart's version stays out of the pods: a chart update restarts nothing. */}}
labels:
  {{- include "ml-api.podLabels" . | fromYaml | merge (dict "app.kubernetes.io/managed-by" $root.Release.Service "helm.sh/chart" $chart "ml-api/environment" $root.Values.environment) | toYaml | nindent 2 }}
{{- end -}}

{{/* Labels of a pod, (list root component labels). */}}
{{- define "ml-api.podLabels" -}}
{{- $own := include "ml-api.entries" (merge (deepCopy (index . 2)) (index . 0).Values.labels) | default "{}" | fromJson -}}
{{ merge (include "ml-api.selectorLabels" . | fromJson) $own | toYaml }}
{{- end -}}

{{/* What a selector matches, (list root component), as JSON: never changes during the life of a release. The pods of Jobs are other components, so that the Service never sends them a request. */}}
{{- define "ml-api.selectorLabels" -}}
{{ dict "app.kubernetes.io/name" (index . 0).Chart.Name "app.kubernetes.io/instance" (index . 0).Release.Name "app.kubernetes.io/component" (index . 1) | toJson }}
{{- end -}}

{{/* A map out of the values without its entries that are null, as JSON; nothing if no entry is left. */}}
{{- define "ml-api.entries" -}}
{{- $entries := dict -}}
{{- range $key, $entry := . }}{{ if not (kindIs "invalid" $entry) }}{{ $_ := set $entries $key $entry }}{{ end }}{{ end -}}
{{- with $entries }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* The messages of the broken ones of some rules, (list (list isBroken message) ...), as a JSON list. */}}
{{- define "ml-api.broken" -}}
{{- $messages := list -}}
{{- range . }}{{ if index . 0 }}{{ $messages = append $messages (index . 1) }}{{ end }}{{ end -}}
{{ toJson $messages }}
{{- end -}}

{{- define "ml-api.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .tag }}:{{ .tag }}{{ else if not .digest }}:latest{{ end }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{/* "true" if the image may be another one tomorrow under the same name. */}}
{{- define "ml-api.imageMoves" }}{{ if and (not .Values.image.digest) (has .Values.image.tag (list "" "latest")) }}true{{ end }}{{ end -}}

{{/* A moving image is asked for at each start, except one that only the nodes have (localhost/). */}}
{{- define "ml-api.imagePullPolicy" -}}
{{ ternary "Always" "IfNotPresent" (and (eq (include "ml-api.imageMoves" .) "true") (not (hasPrefix "localhost/" .Values.image.repository))) }}
{{- end -}}

{{/* CPU quantity (text or number) to thousandths of a core. */}}
{{- define "ml-api.milliCpu" -}}
{{- $quantity := toString . -}}
{{ if hasSuffix "m" $quantity }}{{ trimSuffix "m" $quantity }}{{ else }}{{ mulf (float64 $quantity) 1000.0 | ceil | int64 }}{{ end }}
{{- end -}}

{{/* Memory or disk quantity to bytes. */}}
{{- define "ml-api.bytes" -}}
{{- $factors := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 -}}
{{- $unit := regexFind "[A-Za-z]+$" . -}}
{{ mulf (float64 (trimSuffix $unit .)) (float64 (get $factors $unit)) | ceil | int64 }}
{{- end -}}

{{- define "ml-api.memoryLimit" }}{{ .Values.resources.limits.memory | default .Values.resources.requests.memory }}{{ end -}}

{{/* The folders on the node's disk and the container's logs (the kubelet keeps about 50 Mi of them), with room to spare. */}}
{{- define "ml-api.ephemeralStorage" -}}
{{- $bytes := add (include "ml-api.bytes" .Values.storage.tmp) (include "ml-api.bytes" .Values.storage.cache) (include "ml-api.model.diskBytes" .) -}}
{{ add (div (add $bytes 1048575) 1048576) 128 }}Mi
{{- end -}}

{{/* Computing threads of one worker: the whole cores that the pod may count on, divided. More would fight for the same CPU time. */}}
{{- define "ml-api.threads" -}}
{{- $cpu := .Values.resources.limits.cpu | default .Values.resources.requests.cpu -}}
{{ max 1 (div (include "ml-api.milliCpu" $cpu | int64) (mul 1000 (int64 .Values.api.workers))) }}
{{- end -}}

{{/* The fewest or the most pods, (list root "minReplicas") or (list root "maxReplicas"). */}}
{{- define "ml-api.pods" -}}
{{- $values := (index . 0).Values -}}
{{ ternary (get $values.autoscaling (index . 1)) $values.replicas $values.autoscaling.enabled | int64 }}
{{- end -}}

{{/* "true" if a rollout stops a pod before it starts its successor: where each pod holds a card, there may be none to spare. */}}
{{- define "ml-api.replacesPods" }}{{ if and .Values.gpu.count (eq .Values.gpu.rollout "replace") }}true{{ end }}{{ end -}}

{{/* Every time of the chart, in seconds, as JSON. README.md ("Times") says where each comes from, and what must stay below it. */}}
{{- define "ml-api.timing" -}}
{{- $requestTimeout := .Values.api.requestTimeoutSeconds | int64 -}}
{{- $warmUp := .Values.verify.warmUp -}}
{{- $fetchBudget := include "ml-api.model.fetchSeconds" . | int64 -}}
{{- $placeAndPull := 120 -}}
{{- $preStop := 15 -}}
{{- $gracefulShutdown := add $requestTimeout 5 -}}
{{- $gracePeriod := add $preStop $gracefulShutdown 10 -}}
{{- $startupPeriod := ternary 5 2 $warmUp -}}
{{- $startupTimeout := ternary (add $requestTimeout 5) 2 $warmUp -}}
{{- $startupFailures := div (add (int64 .Values.model.loadBudgetSeconds) $startupPeriod -1) $startupPeriod -}}
{{- $startupBudget := mul $startupPeriod $startupFailures -}}
{{- $started := add $placeAndPull $fetchBudget $startupBudget (ternary $startupTimeout 0 $warmUp) -}}
{{- $minReady := 5 -}}
{{- $progressDeadline := add $started $minReady $gracePeriod -}}
{{- $asked := add 60 (mul 2 (add $requestTimeout 5)) -}}
{{- $testDeadline := add $placeAndPull $asked -}}
{{- $verifyDeadline := ternary $testDeadline 0 .Values.verify.onDeploy -}}
{{- $candidateDeadline := ternary (add $started $asked $gracePeriod) 0 .Values.verify.candidate -}}
{{- dict
  "preStop" $preStop "gracefulShutdown" $gracefulShutdown "gracePeriod" $gracePeriod
  "gatewayTimeout" (add $requestTimeout 5) "keepAlive" 75
  "startupPeriod" $startupPeriod "startupTimeout" $startupTimeout "startupFailures" $startupFailures "startupBudget" $startupBudget
  "workerTimeout" (add (max $requestTimeout $startupBudget) 5)
  "fetchBudget" $fetchBudget "minReady" $minReady "progressDeadline" $progressDeadline
  "testDeadline" $testDeadline "verifyDeadline" $verifyDeadline "candidateDeadline" $candidateDeadline
  "releaseTimeout" (add $candidateDeadline (mul (include "ml-api.pods" (list . "maxReplicas") | int64) $progressDeadline) $gracePeriod $verifyDeadline 30)
  | toJson -}}
{{- end -}}
