package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/applyconfigurations"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
)

// question is one line of input. Live is nil where nothing exists yet.
type question struct {
	Op          string          `json:"op"` // strategic, json, merge, apply, update, labels, fields or validate
	APIVersion  string          `json:"apiVersion,omitempty"`
	Kind        string          `json:"kind,omitempty"`
	Live        json.RawMessage `json:"live,omitempty"`
	Doc         json.RawMessage `json:"doc"` // the patch, the applied object, the updated one, a selector, an object to validate
	Manager     string          `json:"manager,omitempty"`
	Subresource string          `json:"subresource,omitempty"`
	Force       bool            `json:"force,omitempty"`
}

// answer is one line of output: a result, or an error with the causes of a conflict.
type answer struct {
	Result json.RawMessage      `json:"result,omitempty"`
	Error  string               `json:"error,omitempty"`
	Causes []metav1.StatusCause `json:"causes,omitempty"`
}

// unconverted stands in for conversion, defaulting and creation: objects stay as they are, in the one version there is.
type unconverted struct{}

func (unconverted) Convert(in, out, context any) error { return errors.New("not converted") }
func (unconverted) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}
func (unconverted) ConvertFieldLabel(schema.GroupVersionKind, string, string) (string, string, error) {
	return "", "", errors.New("not converted")
}
func (unconverted) Default(runtime.Object) {}
func (unconverted) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	return object, nil
}

var converter = applyconfigurations.NewTypeConverter(clientscheme.Scheme)

// serve answers each line of input with a line of output.
func serve(in io.Reader, out io.Writer) {
	reader, encoder := bufio.NewReader(in), json.NewEncoder(out)
	for {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		must(err)
		var asked question
		must(json.Unmarshal(line, &asked))
		must(encoder.Encode(asked.answer()))
	}
}

func (q question) answer() (given answer) {
	defer func() {
		if failure := recover(); failure != nil {
			given = answer{Error: fmt.Sprint("panic: ", failure)}
		}
	}()
	result, err := q.result()
	if err != nil {
		given.Error = err.Error()
		var status *apierrors.StatusError
		if errors.As(err, &status) && status.ErrStatus.Details != nil {
			given.Causes = status.ErrStatus.Details.Causes
		}
		return given
	}
	given.Result = result
	return given
}

func (q question) result() ([]byte, error) {
	kind := schema.FromAPIVersionAndKind(q.APIVersion, q.Kind)
	switch q.Op {
	case "json":
		patch, err := jsonpatch.DecodePatch(q.Doc)
		if err != nil {
			return nil, err
		}
		return patch.Apply(q.Live)
	case "merge":
		return jsonpatch.MergePatch(q.Live, q.Doc)
	case "strategic":
		object, err := clientscheme.Scheme.New(kind)
		if err != nil {
			return nil, err
		}
		return strategicpatch.StrategicMergePatch(q.Live, q.Doc, object)
	case "apply", "update":
		return q.managed(kind)
	case "labels":
		return encoded(q.selection())
	case "fields":
		return encoded(q.terms())
	case "validate":
		return encoded(q.validation())
	}
	return nil, fmt.Errorf("unknown op %q", q.Op)
}

func encoded(value any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

func (q question) managed(kind schema.GroupVersionKind) ([]byte, error) {
	manager, err := managedfields.NewDefaultFieldManager(
		converter, unconverted{}, unconverted{}, unconverted{}, kind, kind.GroupVersion(), q.Subresource, nil)
	if err != nil {
		return nil, err
	}
	var live runtime.Object
	if len(q.Live) == 0 {
		live, _ = unconverted{}.New(kind)
	} else if live, err = decoded(q.Live); err != nil {
		return nil, err
	}
	doc, err := decoded(q.Doc)
	if err != nil {
		return nil, err
	}
	var result runtime.Object
	if q.Op == "apply" {
		result, err = manager.Apply(live, doc, q.Manager, q.Force)
	} else {
		result, err = manager.Update(live, doc, q.Manager)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

func decoded(text []byte) (runtime.Object, error) {
	object := &unstructured.Unstructured{}
	return object, object.UnmarshalJSON(text)
}
