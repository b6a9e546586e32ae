{{- /*
What the operator may do where it looks after custom resources: once in a ClusterRole, or in a Role of each watched
namespace. Every verb is one that a reconciler uses; the reasons stand beside them. Nothing cluster-scoped is read: kopf finds
kinds in the API's discovery, and tokens of jobs are verified with the cluster's published keys, both open to every
service account.
*/}}
{{- define "media-gateway-operator.rules" -}}
# The resources it reconciles. It never creates or edits one: the spec is the user's.
- apiGroups: [mediagateway.io]
  resources: [mediagateways, ingestionjobs]
  verbs: [get, list, watch]
# A finished job whose ttlSecondsAfterFinished has passed.
- apiGroups: [mediagateway.io]
  resources: [ingestionjobs]
  verbs: [delete]
# Conditions, progress, versions.
- apiGroups: [mediagateway.io]
  resources: [mediagateways/status, ingestionjobs/status]
  verbs: [patch]
# Owner references with blockOwnerDeletion, where the cluster checks who may set them.
- apiGroups: [mediagateway.io]
  resources: [mediagateways/finalizers, ingestionjobs/finalizers]
  verbs: [update]
# Children, watched by the label app.kubernetes.io/managed-by and written by server-side apply, which is a patch and, for an
# object that is not there yet, a create.
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Only where these kinds exist; read one by one, never watched.
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors, prometheusrules]
  verbs: [get, create, patch, delete]
# Why a job's pod failed or does not start. Never watched: there may be many.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
# Read by name, to see that a reference holds and to notice a changed value; made for embedded servers and signing keys, and
# deleted with the server. Without list and watch nobody can collect Secrets whose names he does not know.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
# Events on the custom resources, repeated ones counted up.
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
