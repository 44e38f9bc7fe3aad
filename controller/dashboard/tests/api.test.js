// How pages ask, as far as that needs no controller.

import assert from "node:assert/strict";
import { test } from "node:test";

import { list, nextPage } from "../api.js";

test("a list goes on at a path of the same controller alone", () => {
  assert.equal(nextPage('</v1/x?after=r1>; rel="next"'), "/v1/x?after=r1");
  assert.equal(nextPage("</a>; rel=prev, </b>; title=b; rel=next"), "/b");
  for (const none of ['<https://elsewhere/x>; rel="next"', '<//elsewhere/x>; rel="next"', '</x>; rel="prev"', "", null]) {
    assert.equal(nextPage(none), undefined);
  }
});

test("a list is all its pages, or as many as are wanted", async () => {
  const pages = { "/x": { document: { x: [3, 2] }, next: "/x?after=2" }, "/x?after=2": { document: { x: [1] } } };
  const ask = async (path) => pages[path];
  assert.deepEqual(await list("/x", "x", ask), [3, 2, 1]);
  assert.deepEqual(await list("/x", "x", ask, 1), [3, 2]);
});
