package main

import (
	"encoding/json"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	kubejson "k8s.io/apimachinery/pkg/util/json"
)

// selection says whether a label selector, as text or as an object, selects the labels in Live.
func (q question) selection() (any, error) {
	var text string
	var selector labels.Selector
	err := json.Unmarshal(q.Doc, &text)
	if err == nil {
		selector, err = labels.Parse(text)
	} else {
		var object *metav1.LabelSelector
		must(json.Unmarshal(q.Doc, &object))
		selector, err = metav1.LabelSelectorAsSelector(object)
	}
	if err != nil {
		return nil, err
	}
	held := labels.Set{}
	must(json.Unmarshal(q.Live, &held))
	return selector.Matches(held), nil
}

// terms are the (field, operator, value) triples of a field selector.
func (q question) terms() (any, error) {
	var text string
	must(json.Unmarshal(q.Doc, &text))
	selector, err := fields.ParseSelector(text)
	if err != nil {
		return nil, err
	}
	found := [][]string{}
	for _, term := range selector.Requirements() {
		found = append(found, []string{term.Field, string(term.Operator), term.Value})
	}
	return found, nil
}

type validated struct {
	Pruned []string       `json:"pruned"`
	Object map[string]any `json:"object"`
	Causes [][]string     `json:"causes"`
}

// validation prunes, defaults and validates the object in Doc by the structural schema in Live.
func (q question) validation() (any, error) {
	var versioned apiextensionsv1.JSONSchemaProps
	var internal apiextensions.JSONSchemaProps
	must(json.Unmarshal(q.Live, &versioned))
	must(apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&versioned, &internal, nil))
	structural, err := schema.NewStructural(&internal)
	if err != nil {
		return nil, err
	}
	found := validated{Causes: [][]string{}}
	must(kubejson.Unmarshal(q.Doc, &found.Object))
	options := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	found.Pruned = append([]string{}, pruning.PruneWithOptions(found.Object, structural, true, options)...)
	defaulting.PruneNonNullableNullsWithoutDefaults(found.Object, structural)
	defaulting.Default(found.Object, structural)
	validator, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		return nil, err
	}
	problems := validation.ValidateCustomResource(nil, found.Object, validator)
	for _, problem := range append(problems, listtype.ValidateListSetsAndMaps(nil, structural, found.Object)...) {
		found.Causes = append(found.Causes, []string{string(problem.Type), problem.ErrorBody(), problem.Field})
	}
	return found, nil
}
