{{- define "media-gateway.name" -}}
{{- default .Release.Name .Values.name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "media-gateway.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end }}
{{- /* `instance` is the MediaGateway's name, as on everything that the operator makes of it. */ -}}
app.kubernetes.io/name: media-gateway
app.kubernetes.io/instance: {{ include "media-gateway.name" . }}
app.kubernetes.io/part-of: media-gateway
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The spec as given, with the version, and with references to the Secret that this chart makes. */}}
{{- define "media-gateway.spec" -}}
{{- $spec := deepCopy .Values.spec }}
{{- if not (hasKey $spec "version") }}
{{- $_ := set $spec "version" .Chart.AppVersion }}
{{- end }}
{{- $dependencies := dict }}
{{- range $name, $address := .Values.connections }}
{{- if $address }}
{{- if dig "dependencies" $name "dsnSecretRef" false $.Values.spec }}
{{- fail (printf "connections.%s and spec.dependencies.%s.dsnSecretRef are both given: leave one out" $name $name) }}
{{- end }}
{{- $ref := dict "name" (printf "%s-connections" (include "media-gateway.name" $)) "key" $name }}
{{- $_ := set $dependencies $name (dict "mode" "External" "dsnSecretRef" $ref) }}
{{- end }}
{{- end }}
{{- if $dependencies }}
{{- $spec = mergeOverwrite (dict "dependencies" $dependencies) $spec }}
{{- end }}
{{- toYaml $spec }}
{{- end }}

{{- define "media-gateway.testImage" -}}
{{- $image := default dict .Values.spec.image }}
{{- $tag := coalesce $image.tag .Values.spec.version .Chart.AppVersion }}
{{- default (printf "%s/media-gateway-operator:%s" (default "localhost" $image.registry) $tag) .Values.test.image }}
{{- end }}
