/* Labelling across views. */
export function labelling() { return { study() {}, marks: () => [], overlay() {}, brushing: () => false, click() {}, key: () => false, ready: () => false, started: () => false }; }
