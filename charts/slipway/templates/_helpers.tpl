{{/* What tells this installation's pods from others. */}}
{{- define "slipway.selector" -}}
app.kubernetes.io/name: slipway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "slipway.labels" -}}
{{ include "slipway.selector" . }}
app.kubernetes.io/part-of: slipway
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Name of cluster-wide objects: one installation for all namespaces, or one for each watched one. */}}
{{- define "slipway.clusterName" -}}
{{- with .Values.watchNamespace }}{{ printf "slipway-%s" . }}{{ else }}slipway{{ end }}
{{- end }}

{{/* The controller's account, as the API server names it. */}}
{{- define "slipway.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:slipway
{{- end }}
