// Draws status trees with the real json-render and tells what came of it.
// In: {catalog, trees: {name: tree}} as JSON on standard input. Out, as JSON: for each tree
// {html, updatedHtml, drawn: [{type, props}], pressed: [params], complaints: [text]}.
import { readFileSync } from "node:fs";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { createStateStore, defineCatalog, validateSpec } from "@json-render/core";
import { defineRegistry, JSONUIProvider, Renderer } from "@json-render/react";
import { schema } from "@json-render/react/schema";
import { z } from "zod";

const { catalog, trees } = JSON.parse(readFileSync(0, "utf8"));

let complaints = [];
for (const level of ["warn", "error"]) {
  console[level] = (...words) => complaints.push(words.map(String).join(" "));
}

const declared = defineCatalog(schema, {
  components: Object.fromEntries(
    Object.entries(catalog.components).map(([name, component]) => [
      name,
      {
        description: component.description,
        props: z.fromJSONSchema(component.props),
        slots: component.children ? ["default"] : [],
      },
    ]),
  ),
  actions: Object.fromEntries(
    Object.entries(catalog.actions).map(([name, action]) => [
      name,
      { description: action.description, params: z.fromJSONSchema(action.params) },
    ]),
  ),
});

function draw(tree, store) {
  const drawn = [];
  const pressed = [];
  const presses = [];
  const component =
    (type) =>
    ({ props, children, on }) => {
      drawn.push({ type, props });
      const parsed = catalog.components[type] && declared.data.components[type].props.safeParse(props);
      if (!parsed.success) complaints.push(`${type}: ${parsed.error.message}`);
      if (on("press").bound) presses.push(on("press"));
      return createElement(
        "section",
        { "data-type": type },
        createElement("pre", null, JSON.stringify(props)),
        children,
      );
    };
  const { registry } = defineRegistry(declared, {
    components: Object.fromEntries(
      Object.keys(catalog.components).map((type) => [type, component(type)]),
    ),
    actions: { retryExecution: async () => {} },
  });
  const html = renderToStaticMarkup(
    createElement(
      JSONUIProvider,
      { registry, store, handlers: { retryExecution: (params) => pressed.push(params) } },
      createElement(Renderer, { spec: tree, registry }),
    ),
  );
  return { html, drawn, pressed, presses };
}

const results = {};
for (const [name, tree] of Object.entries(trees)) {
  complaints = [];
  const checked = declared.validate(tree);
  if (!checked.success) complaints.push(`catalog: ${checked.error.message}`);
  for (const issue of validateSpec(tree, { checkOrphans: true }).issues) {
    complaints.push(`${issue.code}: ${issue.message}`);
  }
  const store = createStateStore(tree.state);
  const { html, drawn, pressed, presses } = draw(tree, store);
  for (const press of presses) await press.emit();
  for (const [pointer, value] of Object.entries(tree.update ?? {})) store.set(pointer, value);
  const updatedHtml = draw(tree, store).html;
  results[name] = { html, updatedHtml, drawn, pressed, complaints };
}
process.stdout.write(JSON.stringify(results));
