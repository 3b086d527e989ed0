from flask import Flask

app = Flask(__name__)


@app.get("/items/<int:item_id>")
def item(item_id):
    return {"id": item_id}


@app.post("/items")
def add():
    return {}, 201
