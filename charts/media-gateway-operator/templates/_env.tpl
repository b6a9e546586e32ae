{{- /* Settings of the operator (`OperatorSettings`), as far as the chart sets them. */}}
{{- define "media-gateway-operator.env" }}
{{- $election := .Values.leaderElection }}
{{- if not (and (lt (int $election.retryPeriodSeconds) (int $election.renewDeadlineSeconds)) (lt (int $election.renewDeadlineSeconds) (int $election.leaseDurationSeconds))) }}
{{- fail "leaderElection: retryPeriodSeconds must be less than renewDeadlineSeconds, and that less than leaseDurationSeconds" }}
{{- end }}
- name: MEDIA_GATEWAY_OPERATOR_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: MEDIA_GATEWAY_OPERATOR_IDENTITY
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: MEDIA_GATEWAY_OPERATOR_ADVERTISED_ADDRESS
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: MEDIA_GATEWAY_OPERATOR_WATCH_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: MEDIA_GATEWAY_OPERATOR_LEASE_NAME
  value: {{ include "media-gateway-operator.fullname" . | quote }}
- name: MEDIA_GATEWAY_OPERATOR_LEASE_DURATION_S
  value: {{ $election.leaseDurationSeconds | quote }}
- name: MEDIA_GATEWAY_OPERATOR_LEASE_RENEW_DEADLINE_S
  value: {{ $election.renewDeadlineSeconds | quote }}
- name: MEDIA_GATEWAY_OPERATOR_LEASE_RETRY_S
  value: {{ $election.retryPeriodSeconds | quote }}
- name: MEDIA_GATEWAY_OPERATOR_SERVICE_NAME
  value: {{ include "media-gateway-operator.fullname" . | quote }}
- name: MEDIA_GATEWAY_OPERATOR_IMAGE_REGISTRY
  value: {{ default .Values.image.registry .Values.components.registry | quote }}
- name: MEDIA_GATEWAY_OPERATOR_IMAGE_VERSION
  value: {{ default .Chart.AppVersion .Values.components.version | quote }}
- name: MEDIA_GATEWAY_OPERATOR_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
{{- end }}
