{{- define "aso.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default "azureserviceoperator-default" .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}{{ end -}}
{{- end -}}

{{- define "aso.labels" -}}
app.kubernetes.io/name: azure-service-operator
app.kubernetes.io/version: {{ .Chart.AppVersion }}
control-plane: controller-manager
{{- end -}}
