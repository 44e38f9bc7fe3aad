/** What outlives the page: the key, and a payment whose outcome is not known. In the browser's own database, for this site alone. */

const DATABASE = "payflow";
const STORE = "kept";

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {"readonly" | "readwrite"} mode @param {(store: IDBObjectStore) => IDBRequest} what */
async function inStore(mode, what) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      // Durable before it is told: a payment must be remembered before it is made.
      const transaction = database.transaction(STORE, mode, { durability: "strict" });
      const request = what(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
      transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** @param {string} name @returns {Promise<unknown>} what was kept under this name; undefined if nothing */
export const recall = (name) => inStore("readonly", (store) => store.get(name));

/** @param {string} name @param {unknown} value */
export const keep = (name, value) => inStore("readwrite", (store) => store.put(value, name));

/** @param {string} name */
export const forget = (name) => inStore("readwrite", (store) => store.delete(name));
