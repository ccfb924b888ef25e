// As much of React as the example pages use: elements, useState, useEffect, and a root that renders to a tree.

let current

export const Fragment = 'fragment'

export function jsx(type, props) {
  return { type, props }
}

export { jsx as jsxs }

export function useState(initial) {
  const { states, schedule } = current
  const at = current.at++
  if (!(at in states)) states[at] = initial
  const set = (value) => {
    states[at] = value
    schedule()
  }
  return [states[at], set]
}

export function useEffect(effect, dependencies) {
  const { states, effects } = current
  const at = current.at++
  if (!states[at] || dependencies.some((value, i) => !Object.is(value, states[at][i]))) effects.push(effect)
  states[at] = dependencies
}

/** Mounts a page; `find` and `text` look at what it shows now. Every tree it ever showed is kept in `shown`. */
export function mount(Page, props) {
  const root = { states: [], effects: [], shown: [], schedule: render }
  render()
  return {
    get shown() {
      return root.shown
    },
    text: () =>
      flatten(root.tree)
        .filter((node) => typeof node !== 'object')
        .join(' '),
    find: (type, name) =>
      flatten(root.tree).find((node) => node?.type === type && (!name || node.props.name === name)),
    /** Until the page shows what is asked for. */
    async until(found) {
      for (let waited = 0; !found(); waited += 10) {
        if (waited > 10_000) throw new Error('the page never showed it')
        await new Promise((done) => setTimeout(done, 10))
      }
    },
  }

  function render() {
    root.at = 0
    current = root
    root.tree = Page(props)
    current = undefined
    root.shown.push(JSON.stringify(root.tree))
    for (const effect of root.effects.splice(0)) effect()
  }
}

function flatten(node) {
  if (Array.isArray(node)) return node.flatMap(flatten)
  if (node === null || node === undefined || typeof node === 'boolean') return []
  if (typeof node !== 'object') return [node]
  return [node, ...flatten(node.props.children)]
}
