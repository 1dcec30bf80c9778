package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
)

type named interface{ OpenAPIModelName() string }

// fact is what a field of a built-in type says about merging.
type fact struct {
	Type     string   `json:"type"`
	Field    string   `json:"field"`
	GoType   string   `json:"goType"`
	Strategy string   `json:"strategy,omitempty"`
	MergeKey string   `json:"mergeKey,omitempty"`
	List     string   `json:"list,omitempty"`
	Keys     []string `json:"keys,omitempty"`
	Atomic   bool     `json:"atomic,omitempty"`
	Default  any      `json:"default,omitempty"`
	// Zero is what Go writes where the field has no value, if it always writes it; Omits, that it leaves an empty value out.
	Zero  json.RawMessage `json:"zero,omitempty"`
	Omits bool            `json:"omits,omitempty"`
}

func typeName(t reflect.Type) string {
	if model, ok := reflect.New(t).Interface().(named); ok {
		return model.OpenAPIModelName()
	}
	return ""
}

// facts walks every served type and adds what server-side apply's own schema says of each field.
func facts() []fact {
	types := runtime.NewScheme()
	must(clientscheme.AddToScheme(types))
	must(apiextensions.AddToScheme(types))
	must(apiregistration.AddToScheme(types))
	seen := map[string]map[string]*fact{}
	for _, t := range types.AllKnownTypes() {
		walk(t, seen)
	}
	for name, sch := range smdTypes() {
		if sch.Map == nil {
			continue
		}
		for _, field := range sch.Map.Fields {
			found := seen[name][field.Name]
			if found == nil {
				continue
			}
			if _, structured := field.Default.(map[any]any); !structured {
				found.Default = field.Default
			}
			list, m := field.Type.Inlined.List, field.Type.Inlined.Map
			if list != nil && list.ElementRelationship == schema.Associative {
				found.List, found.Keys = "set", list.Keys
				if len(list.Keys) > 0 {
					found.List = "map"
				}
			}
			if m != nil && m.ElementRelationship == schema.Atomic {
				found.Atomic = true
			}
			if field.Type.ElementRelationship != nil && *field.Type.ElementRelationship == schema.Atomic {
				found.Atomic = true
			}
		}
		if sch.Map.ElementRelationship == schema.Atomic && seen[name] != nil {
			seen[name]["."] = &fact{Type: name, Field: ".", Atomic: true}
		}
	}
	out := []fact{}
	for _, fields := range seen {
		for _, f := range fields {
			out = append(out, *f)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Type+"\x00"+out[i].Field < out[j].Type+"\x00"+out[j].Field
	})
	return out
}

func walk(t reflect.Type, seen map[string]map[string]*fact) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		walk(t.Elem(), seen)
		return
	case reflect.Struct:
	default:
		return
	}
	name := typeName(t)
	_, leaf := reflect.New(t).Interface().(interface{ OpenAPISchemaType() []string })
	if name == "" || leaf || seen[name] != nil {
		return
	}
	seen[name] = map[string]*fact{}
	members(t, name, seen)
}

func members(t reflect.Type, owner string, seen map[string]map[string]*fact) {
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && (tag == "" || strings.Contains(options, "inline")) {
			members(field.Type, owner, seen)
			continue
		}
		if tag == "" || tag == "-" {
			continue
		}
		zero, omits := whenEmpty(field.Type, options)
		seen[owner][tag] = &fact{Type: owner, Field: tag, GoType: goType(field.Type), Zero: zero, Omits: omits,
			Strategy: field.Tag.Get("patchStrategy"), MergeKey: field.Tag.Get("patchMergeKey")}
		walk(field.Type, seen)
	}
}

// whenEmpty says how encoding/json writes a field without a value, from its type and the options of its tag.
func whenEmpty(t reflect.Type, options string) (json.RawMessage, bool) {
	if strings.Contains(options, "omitzero") || t.Kind() != reflect.Struct && strings.Contains(options, "omitempty") {
		return nil, t.Kind() != reflect.Pointer
	}
	zero, err := json.Marshal(reflect.Zero(t).Interface())
	must(err)
	return zero, false
}

func goType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return goType(t.Elem())
	case reflect.Slice:
		return "[]" + goType(t.Elem())
	case reflect.Map:
		return "{}" + goType(t.Elem())
	case reflect.Struct:
		if name := typeName(t); name != "" {
			return name
		}
	}
	return t.Kind().String()
}

func smdTypes() map[string]schema.Atom {
	out := map[string]schema.Atom{}
	var converter managedfields.TypeConverter = applyconfigurations.NewTypeConverter(clientscheme.Scheme)
	for _, t := range clientscheme.Scheme.AllKnownTypes() {
		object, ok := reflect.New(t).Interface().(runtime.Object)
		if !ok {
			continue
		}
		gvks, _, err := clientscheme.Scheme.ObjectKinds(object)
		if err != nil {
			continue
		}
		object.GetObjectKind().SetGroupVersionKind(gvks[0])
		typed, err := converter.ObjectToTyped(object)
		if err != nil {
			continue
		}
		for _, definition := range typed.Schema().Types {
			out[definition.Name] = definition.Atom
		}
		return out
	}
	panic(fmt.Sprint("no typed object found"))
}
