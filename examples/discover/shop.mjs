// A shop with more behind its door than its description says: node shop.mjs 9020
import { createServer } from "node:http";

const answers = {
  "/openapi.json": { openapi: "3.1.0", info: { title: "Shop", version: "1.2" }, paths: { "/orders": { get: {} }, "/orders/{id}": { get: {} } } },
  "/orders": [{ id: 1 }],
  "/internal/admin/export": { users: ["ann", "ben"] },
};

const server = createServer((req, res) => {
  if (req.method === "POST" && req.url === "/graphql") {
    res.setHeader("Content-Type", "application/json");
    let query = "";
    req.on("data", (part) => (query += part));
    req.on("end", () => res.end(query.includes("__schema") ? '{"errors":[{"message":"introspection of GraphQL is off"}]}' : '{"data":{"__typename":"Query"}}'));
    return;
  }
  const body = answers[req.url];
  res.statusCode = body ? 200 : 404;
  res.setHeader("Content-Type", "application/json");
  res.end(JSON.stringify(body ?? { error: "not found" }));
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("the shop is open"));
