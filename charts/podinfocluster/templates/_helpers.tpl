{{/* The name of cluster number .i: object and Azure resource alike. 63 is AKS's limit. */}}
{{- define "podinfocluster.cluster" -}}
{{- $name := printf "%s-%d-aks" .root.Release.Name (int .i) -}}
{{- if gt (len $name) 63 -}}
{{- fail (printf "the cluster name %q has more than 63 characters: shorten the release's name" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Its DNS prefix, which AKS limits to 54 characters. */}}
{{- define "podinfocluster.dnsPrefix" -}}
{{- $prefix := include "podinfocluster.cluster" . -}}
{{- with .root.Values.dnsPrefix }}{{ $prefix = printf "%s-%d" . (int $.i) }}{{ end -}}
{{- if gt (len $prefix) 54 -}}
{{- fail (printf "the DNS prefix %q has more than 54 characters: set dnsPrefix to something shorter" $prefix) -}}
{{- end -}}
{{- $prefix -}}
{{- end -}}

{{/* Labels that let one find an environment's objects, and a cluster's three objects. */}}
{{- define "podinfocluster.labels" -}}
app.kubernetes.io/name: podinfocluster
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
fleet/environment: {{ .root.Release.Name }}
fleet/cluster: {{ include "podinfocluster.cluster" . }}
{{- end -}}

{{/* Extension and FluxConfiguration are created on the cluster: they wait until it is Ready. */}}
{{- define "podinfocluster.owner" -}}
group: containerservice.azure.com
kind: ManagedCluster
name: {{ include "podinfocluster.cluster" . }}
{{- end -}}
