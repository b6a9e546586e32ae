{{- /* Names and labels. Selectors, the Lease's name and the Service's name must never change: a Deployment's selector is
immutable, two operators under different Leases would both act, and running jobs report to the Service. */}}

{{- define "media-gateway-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "media-gateway-operator.selector" -}}
app.kubernetes.io/name: media-gateway-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "media-gateway-operator.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end }}
{{- include "media-gateway-operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: media-gateway
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "media-gateway-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "media-gateway-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "media-gateway-operator.image" -}}
{{- $image := .Values.image }}
{{- $name := printf "%s/%s" $image.registry $image.repository }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}
