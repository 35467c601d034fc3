/* A conversation is a tree: editing or regenerating adds a sibling, nothing is overwritten. What is
 * shown is one path; `chosen` remembers the branch taken where there are several. Pure functions over
 * {nodes: Map id -> node, kids: Map parent id -> [id], chosen: {}}; a node's parent '' is the start. */

export function make_tree(nodes = [], chosen = {}) {
    const tree = { nodes: new Map(), kids: new Map(), chosen: { ...chosen } };
    for (const n of [...nodes].sort((a, b) => a.created - b.created || a.order - b.order)) add(tree, n);
    return tree;
}

export function add(tree, node) {
    tree.nodes.set(node.id, node);
    const kids = tree.kids.get(node.parent);
    if (kids) kids.push(node.id);
    else tree.kids.set(node.parent, [node.id]);
    return node;
}

/** The child that the path takes after `id`: the chosen one, else the newest. */
function next(tree, id) {
    const kids = tree.kids.get(id);
    if (!kids) return null;
    return kids.includes(tree.chosen[id]) ? tree.chosen[id] : kids[kids.length - 1];
}

export function path(tree) {
    const out = [];
    const seen = new Set(); // an imported file may hold a loop
    for (let id = next(tree, ''); id && !seen.has(id); id = next(tree, id)) {
        seen.add(id);
        out.push(tree.nodes.get(id));
    }
    return out;
}

/** The path that ends with this node, from the start. */
export function path_to(tree, id) {
    const out = [];
    for (let n = tree.nodes.get(id); n && out.length < tree.nodes.size; n = tree.nodes.get(n.parent)) {
        out.push(n);
    }
    return out.reverse();
}

/** {at, of} for the "2/3" of a node. */
export function place(tree, node) {
    const kids = tree.kids.get(node.parent) || [node.id];
    return { at: kids.indexOf(node.id) + 1, of: kids.length };
}

export function choose(tree, node) {
    tree.chosen[node.parent] = node.id;
}

/** Move to the sibling `by` places further; the node, or null at an end. */
export function sibling(tree, node, by) {
    const kids = tree.kids.get(node.parent) || [];
    const id = kids[kids.indexOf(node.id) + by];
    if (!id) return null;
    tree.chosen[node.parent] = id;
    return tree.nodes.get(id);
}

/** What the API is sent for a path. Thinking is not sent back: models are trained without it. */
export function messages_of(nodes, system) {
    const out = system ? [{ role: 'system', content: system }] : [];
    for (const n of nodes) {
        if (n.role === 'assistant' && !n.content && !n.reasoning) continue; // failed before a word
        out.push({ role: n.role, content: n.content });
    }
    return out;
}
