{{- define "cert-manager.fullname" -}}
{{- if .Values.fullnameOverride -}}{{ .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "cert-manager.namespace" -}}{{ .Values.namespace | default .Release.Namespace }}{{- end -}}

{{/* Name of a component's objects; dict root, component. The controller carries the release's own name. */}}
{{- define "component.name" -}}
{{- $name := include "cert-manager.fullname" .root -}}
{{- if eq .component "controller" }}{{ $name }}{{ else }}{{ printf "%s-%s" $name .component }}{{ end -}}
{{- end -}}

{{- define "component.app" -}}
{{- if eq .component "controller" }}{{ default .root.Chart.Name .root.Values.nameOverride }}{{ else }}{{ .component }}{{ end -}}
{{- end -}}

{{- define "component.serviceAccount" -}}
{{- if .values.serviceAccount.create }}{{ default (include "component.name" .) .values.serviceAccount.name }}
{{- else }}{{ default "default" .values.serviceAccount.name }}{{ end -}}
{{- end -}}

{{- define "component.selector" -}}
app.kubernetes.io/name: {{ include "component.app" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "component.labels" -}}
app: {{ include "component.app" . }}
{{ include "component.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .root.Values.global.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "component.image" -}}
{{ .values.image.repository }}:{{ .values.image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{/* What a Pod of any component has in common. */}}
{{- define "component.pod" -}}
serviceAccountName: {{ include "component.serviceAccount" . }}
enableServiceLinks: false
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.global.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
{{- with .values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
