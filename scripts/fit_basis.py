"""Fit visavis' own face basis: our mesh, our channels, from ICT-FaceKit's shapes.

    python scripts/fit_basis.py --source ict_facekit --out avatar/rig/data/basis.safetensors

The mesh is MediaPipe's 468-landmark triangulation with the eyes and the mouth cut out, every triangle
split in four. It is laid on the ICT-FaceKit neutral head (identity modes and a stiff thin-plate warp,
then the closest surface point; lid margins and lip lines by arc length along the kit's own lines). The 43 ARKit
expressions and the identity modes are read off the kit's surface there (barycentric), smoothed a little over
the mesh, and the identity modes are compressed by a singular value decomposition.

Neither source mesh is written out. Units: centimetres; axes: x image right, y down, z towards the viewer.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.interpolate import RBFInterpolator, interp1d
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from avatar.motion.space import ARKIT_NAMES
from avatar.rig import mesh
from avatar.rig.spread import displace

Array = NDArray[np.float64]

IDENTITY_MODES = 28
JAW_LIP_DROP = 0.2
"""Share kept of the upper lip's drop in jawOpen: the kit's hides the upper teeth, a speaking face shows their edges."""
FUNNEL_OPENING = 0.6
"""Share of the kit's lip opening kept in mouthFunnel: as it is, it bares all teeth in "oo" and "sh"."""
PUCKER_SHARE = (1.2, 0.5)
"""Sideways and vertical part of mouthPucker against the kit's, which is a kiss: too wide and too full for "oo"."""
PUCKER_DROP_CM = 0.08
"""Added drop of both lips' middle in mouthPucker, so that "oo" covers the upper teeth."""
ICT_FACE = 9409
ICT_LOWER_TEETH = slice(19247, 21451)
ICT_EYEBALLS = slice(21451, 24591)
FLIP_Y = np.array([1.0, -1.0, 1.0])


def read_obj(path: Path) -> tuple[Array, NDArray[np.int64]]:
    """Vertices [N, 3] and triangles [F, 3] of a Wavefront file."""
    vertices, faces = [], []
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] == ["v"]:
            vertices.append([float(w) for w in words[1:4]])
        elif words[:1] == ["f"]:
            faces.append([int(w.split("/")[0]) - 1 for w in words[1:4]])
    return np.array(vertices), np.array(faces)


ANCHORS = (
    61, 291, 0, 17, 78, 308, 13, 14, 33, 133, 159, 145, 263, 362, 386, 374, 1, 2, 4, 5, 6, 168, 98, 327, 64, 294,
)  # fmt: skip
"""Landmarks whose pair on the kit is exact enough to pull the registration: corners and middles of lips and
lids, the nose. Elsewhere the pairs follow another landmark set's meaning and are not used."""


def register(
    canonical: Array,
    topology: mesh.Topology,
    kit: Mapping[str, NDArray[np.generic]],
    pairs: NDArray[np.int32],
    triangles: NDArray[np.int64],
    rounds: int = 6,
) -> tuple[NDArray[np.int64], Array, Array]:
    """Where our vertices (on the canonical face) lie on the kit's surface: triangle corners and weights [V, 3];
    and the kit's identity coefficients of the canonical face.

    Alternates: the kit's identity modes and a similarity are fitted to the canonical face; what the anchors still
    miss is bent in by a stiff thin-plate warp; each vertex takes the closest point of the fitted surface.
    """
    neutral, modes = kit["neutral"].astype(np.float64), kit["identity"].astype(np.float64)[:60]
    ours = topology.vertices_V3
    anchors = list(ANCHORS)
    corners = np.repeat(pairs[:, None].astype(np.int64), 3, 1)
    weights = np.tile([1.0, 0.0, 0.0], (468, 1))
    trust = np.full(468, 0.15)
    trust[anchors] = 1.0
    coefficients = np.zeros(len(modes))
    for _ in range(rounds):
        head = neutral + np.tensordot(coefficients, modes, 1)
        here = np.einsum("vk,vkd->vd", weights, head[corners])
        rotation, scale, shift = similarity(canonical, here, trust)
        goal = scale * canonical @ rotation.T + shift
        at_points = np.einsum("vk,mvkd->mvd", weights, modes[:, corners]).reshape(len(modes), -1)
        base = np.einsum("vk,vkd->vd", weights, neutral[corners])
        each = np.repeat(np.sqrt(trust), 3)
        left = np.concatenate([(at_points * each).T, 0.35 * np.eye(len(modes))])
        right = np.r_[(goal - base).ravel() * each, np.zeros(len(modes))]
        coefficients = np.linalg.lstsq(left, right, rcond=None)[0]
        head = neutral + np.tensordot(coefficients, modes, 1)
        aligned = scale * ours @ rotation.T + shift
        miss = head[pairs[anchors]] - aligned[anchors]
        aligned = aligned + RBFInterpolator(aligned[anchors], miss, kernel="thin_plate_spline", smoothing=0.3)(aligned)
        corners, weights = closest_on_surface(aligned, head, triangles, vertex_normals(aligned, topology.triangles_T3))
        here = np.einsum("vk,vkd->vd", weights, head[corners])
        print(
            f"registration: {np.linalg.norm(here - aligned, axis=1).mean():.3f} cm to the surface, "
            f"anchors miss {np.linalg.norm(miss, axis=1).mean():.3f} cm"
        )
        all_corners, all_weights = corners, weights
        corners, weights = corners[:468], weights[:468]
    return all_corners, all_weights, np.pad(coefficients, (0, len(kit["identity"]) - len(coefficients)))


def similarity(source: Array, target: Array, weight: Array) -> tuple[Array, float, Array]:
    """Weighted rotation, scale and shift that carry source to target (Umeyama 1991)."""
    w = weight / weight.sum()
    a, b = source - w @ source, target - w @ target
    u, s, vt = np.linalg.svd((b * w[:, None]).T @ a)
    fix = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ fix @ vt
    scale = float(np.trace(np.diag(s) @ fix) / (w @ (a**2).sum(1)))
    return rotation, scale, w @ target - scale * rotation @ (w @ source)


def arkit_offsets(names: list[str], expression: Array) -> Array:
    """ICT expression offsets [43, N, 3] in ARKit's order; channels that ARKit does not split are summed."""
    out = []
    for name in ARKIT_NAMES:
        side = {"Left": "_L", "Right": "_R"}
        kit = next((name.removesuffix(s) + k for s, k in side.items() if name.endswith(s)), name)
        if kit in names:
            out.append(expression[names.index(kit)])
        elif name in names:  # jawLeft, mouthLeft: a direction, not a side
            out.append(expression[names.index(name)])
        else:
            out.append(expression[names.index(name + "_L")] + expression[names.index(name + "_R")])
    return np.stack(out)


def closest_on_surface(
    points: Array, vertices: Array, triangles: NDArray[np.int64], outward: Array, neighbours: int = 24
) -> tuple[NDArray[np.int64], Array]:
    """Closest surface point whose normal agrees with `outward`: triangle corners [N, 3] and weights [N, 3]."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    tree = cKDTree((a + b + c) / 3)
    _, candidates = tree.query(points, k=neighbours)
    corners = np.empty((len(points), 3), np.int64)
    weights = np.empty((len(points), 3))
    for i, point in enumerate(points):
        tri = candidates[i]
        bary = barycentric(point, a[tri], b[tri], c[tri])
        where = np.einsum("nk,nkd->nd", bary, vertices[triangles[tri]])
        cost = np.linalg.norm(where - point, axis=1) + 1.5 * np.clip(0.2 - normal[tri] @ outward[i], 0, None)
        best = int(cost.argmin())
        corners[i], weights[i] = triangles[tri[best]], bary[best]
    return corners, weights


def barycentric(p: Array, a: Array, b: Array, c: Array) -> Array:
    """Barycentric weights of the point of each triangle closest to p (clamped; exact inside, near outside)."""
    v0, v1, v2 = b - a, c - a, p - a
    d00, d01, d11 = (np.einsum("nd,nd->n", x, y) for x, y in ((v0, v0), (v0, v1), (v1, v1)))
    d20, d21 = np.einsum("nd,nd->n", v2, v0), np.einsum("nd,nd->n", v2, v1)
    det = d00 * d11 - d01 * d01 + 1e-12
    v = (d11 * d20 - d01 * d21) / det
    w = (d00 * d21 - d01 * d20) / det
    out = np.clip(np.stack([1 - v - w, v, w], 1), 0, None)
    return out / out.sum(1, keepdims=True)


def vertex_normals(vertices: Array, triangles: NDArray[np.int64]) -> Array:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(out, triangles[:, i], face)
    return out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-12)


def along(line: Array, values: Array, fraction: Array) -> Array:
    """Values given at the points of a line, read at fractions of its length."""
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    return np.asarray(interp1d(length / length[-1], values, axis=0)(fraction))


def fraction_of(line: Array) -> Array:
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    return length / length[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("ict_facekit"))
    parser.add_argument("--out", type=Path, default=Path("avatar/rig/data/basis.safetensors"))
    args = parser.parse_args()

    canonical, faces = read_obj(args.source / "mediapipe_canonical_face_468.obj")
    kit = np.load(args.source / "ict_facekit.npz")
    pairs = np.load(args.source / "mediapipe468_to_ict.npz")
    kit_neutral = kit["neutral"].astype(np.float64)
    kit_triangles = kit["triangles"].astype(np.int64)
    kit_triangles = kit_triangles[(kit_triangles < ICT_FACE).all(1)]
    expression = kit["expression"].astype(np.float64)
    names = [str(n) for n in kit["expression_names"]]

    topology = mesh.subdivide(mesh.cut_holes(faces), canonical)
    triangles = topology.triangles_T3.astype(np.int64)

    # 1. lay the mesh on the kit's head
    corners, weights, average = register(canonical, topology, kit, pairs["ict_vertex"], kit_triangles)

    everything = np.concatenate(
        [kit_neutral[None], kit["identity"].astype(np.float64), arkit_offsets(names, expression)]
    )
    fields = np.einsum("vk,fvkd->fvd", weights, everything[:, corners])

    # 2. lip lines and lid margins by arc length along the kit's own lines
    lines = [(mesh.LIP_UPPER, topology.lip_upper_L), (mesh.LIP_LOWER, topology.lip_lower_L)]
    for eye in range(2):
        lines += [(mesh.LID_UPPER[eye], topology.lid_upper_2L[eye]), (mesh.LID_LOWER[eye], topology.lid_lower_2L[eye])]
    fixed = np.zeros(len(weights), bool)
    for landmarks, vertices in lines:
        on_kit = pairs["ict_vertex"][list(landmarks)]
        fraction = fraction_of(topology.vertices_V3[vertices])
        fields[:, vertices] = np.moveaxis(
            along(kit_neutral[on_kit], np.moveaxis(everything[:, on_kit], 0, 1), fraction), 1, 0
        )
        fixed[vertices] = True

    # 3. smooth over the mesh: the kit's triangles are about as large as ours
    fields[0] = smooth(fields[0], triangles, fixed, 0.15)
    for k in range(1, len(fields)):
        fields[k] = smooth(fields[k], triangles, fixed, 0.5)
    fields *= FLIP_Y
    # identity varies around the landmark detector's average face, not the kit's
    fields[0] += np.tensordot(average, fields[1 : 1 + len(average)], 1)
    fields = mirror_symmetric(fields, topology, len(kit["identity"]))
    neutral, identity, channels = fields[0], fields[1 : 1 + len(kit["identity"])], fields[1 + len(kit["identity"]) :]

    neutral = neutral + close_lips(neutral, topology)

    funnel = ARKIT_NAMES.index("mouthFunnel")
    channels[funnel] = narrow_opening(channels[funnel], neutral, topology, FUNNEL_OPENING)

    jaw = ARKIT_NAMES.index("jawOpen")
    channels[jaw] = hold_upper_lip(channels[jaw], neutral, topology, JAW_LIP_DROP)

    pucker = ARKIT_NAMES.index("mouthPucker")
    channels[pucker][:, :2] *= PUCKER_SHARE
    channels[pucker] = lower_lips(channels[pucker], neutral, topology, PUCKER_DROP_CM)

    # 4. fewer identity modes, most variance first, each scaled to one standard deviation
    flat = identity.reshape(len(identity), -1)
    _, s, vt = np.linalg.svd(flat, full_matrices=False)
    modes = (s[:IDENTITY_MODES, None] * vt[:IDENTITY_MODES]).reshape(IDENTITY_MODES, -1, 3)
    kept = float((s[:IDENTITY_MODES] ** 2).sum() / (s**2).sum())

    # 5. rigid motion of the lower jaw, from the kit's lower teeth
    teeth = kit_neutral[ICT_LOWER_TEETH] * FLIP_Y
    jaw_K6 = np.zeros((len(ARKIT_NAMES) + 1, 6))
    hinge = hinge_of(teeth, expression[names.index("jawOpen")][ICT_LOWER_TEETH] * FLIP_Y)
    for k, name in enumerate(ARKIT_NAMES):
        if name.startswith("jaw"):
            moved = teeth + expression[names.index(name)][ICT_LOWER_TEETH] * FLIP_Y
            rotation, _ = Rotation.align_vectors(moved - moved.mean(0), teeth - teeth.mean(0))
            shift = moved.mean(0) - hinge - rotation.apply(teeth.mean(0) - hinge)
            jaw_K6[k] = np.r_[rotation.as_rotvec(), shift]

    balls = kit_neutral[ICT_EYEBALLS] * FLIP_Y
    eyeball_23 = np.stack([(b.max(0) + b.min(0)) / 2 for b in (balls[balls[:, 0] < 0], balls[balls[:, 0] > 0])])

    tensors = {
        "neutral_V3": neutral.astype(np.float32),
        "identity_AV3": modes.astype(np.float16),
        "expression_KV3": channels.astype(np.float16),
        "triangles_T3": topology.triangles_T3.astype(np.int16),
        "mirror_V": topology.mirror_V.astype(np.int16),
        "parents_V2": topology.parents_V2.astype(np.int16),
        "jaw_K6": jaw_K6.astype(np.float32),
        "eyeball_23": eyeball_23.astype(np.float32),
        "jaw_hinge_3": hinge.astype(np.float32),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.out, metadata={"licence": "MIT AND Apache-2.0, see NOTICE.md", "units": "cm"})
    print(f"{len(neutral)} vertices, {len(triangles)} triangles, identity variance kept {kept:.3f}")
    print(f"eyeballs {eyeball_23.round(3).tolist()}")
    print(f"jaw hinge {hinge}, jawOpen {jaw_K6[ARKIT_NAMES.index('jawOpen')]}; {args.out.stat().st_size / 1e3:.0f} kB")


def narrow_opening(offset: Array, neutral: Array, topology: mesh.Topology, share: float) -> Array:
    """Let a channel [V, 3] part the lips by only a share of what it did, spread over the lips."""
    upper, lower = topology.lip_upper_L, topology.lip_lower_L
    ring = topology.mouth_ring_M
    move = np.zeros_like(offset)
    half = (offset[lower] - offset[upper]) * (1 - share) / 2
    move[upper], move[lower] = half, -half
    near = mesh.rings_from(topology.triangles_T3, len(offset), ring) <= 10
    return offset + displace(neutral, topology.triangles_T3, ring, move[ring], near)


def hold_upper_lip(offset: Array, neutral: Array, topology: mesh.Topology, share: float) -> Array:
    """Keep only a share of a channel's downward move of the upper lip's middle (corners go on as they did)."""
    upper, ring = topology.lip_upper_L, topology.mouth_ring_M
    move = np.zeros_like(offset)
    arch = np.sin(np.linspace(0, np.pi, len(upper)))
    move[upper, 1] = -(1 - share) * np.clip(offset[upper, 1], 0, None) * arch
    near = mesh.rings_from(topology.triangles_T3, len(offset), ring) <= 10
    return offset + displace(neutral, topology.triangles_T3, ring, move[ring], near)


def lower_lips(offset: Array, neutral: Array, topology: mesh.Topology, drop: float) -> Array:
    """Let a channel [V, 3] move the middle of both lips down by `drop` cm more, spread over the lips."""
    ring = topology.mouth_ring_M
    move = np.zeros_like(offset)
    for line in (topology.lip_upper_L, topology.lip_lower_L):
        move[line, 1] = drop * np.sin(np.linspace(0, np.pi, len(line)))
    near = mesh.rings_from(topology.triangles_T3, len(offset), ring) <= 10
    return offset + displace(neutral, topology.triangles_T3, ring, move[ring], near)


def close_lips(neutral: Array, topology: mesh.Topology) -> Array:
    """Displacement [V, 3] that brings both lips of the neutral face together, spread over the lips."""
    upper, lower = topology.lip_upper_L, topology.lip_lower_L
    ring = topology.mouth_ring_M
    move = np.zeros_like(neutral)
    middle = (neutral[upper] + neutral[lower]) / 2
    move[upper], move[lower] = middle - neutral[upper], middle - neutral[lower]
    near = mesh.rings_from(topology.triangles_T3, len(neutral), ring) <= 8
    return displace(neutral, topology.triangles_T3, ring, move[ring], near)


def hinge_of(teeth: Array, offset: Array) -> Array:
    """The point that the opening jaw turns about, in the plane x = 0."""
    moved = teeth + offset
    rotation, _ = Rotation.align_vectors(moved - moved.mean(0), teeth - teeth.mean(0))
    shift = moved.mean(0) - rotation.apply(teeth.mean(0))
    turn = np.eye(3) - rotation.as_matrix()
    y, z = np.linalg.solve(turn[1:, 1:], shift[1:])
    return np.array([0.0, y, z])


def smooth(field: Array, triangles: NDArray[np.int64], fixed: NDArray[np.bool_], amount: float) -> Array:
    """One implicit step of biharmonic smoothing; `fixed` vertices keep their values."""
    laplacian = mesh.graph_laplacian(triangles, len(field))
    free = ~fixed
    system = sp.identity(len(field), format="csr") + amount * (laplacian.T @ laplacian)
    right = field[free] - system[free][:, fixed] @ field[fixed]
    out = field.copy()
    out[free] = spl.spsolve(system[free][:, free].tocsc(), right)
    return out


def mirror_symmetric(fields: Array, topology: mesh.Topology, identities: int) -> Array:
    """Make the neutral head and the expressions exactly left-right symmetric (the kit nearly is)."""
    mirror = topology.mirror_V
    flip = np.array([-1.0, 1.0, 1.0])
    out = fields.copy()
    out[0] = (fields[0] + fields[0][mirror] * flip) / 2
    offset = 1 + identities
    for k, name in enumerate(ARKIT_NAMES):
        other = name.replace("Left", "@").replace("Right", "Left").replace("@", "Right")
        out[offset + k] = (fields[offset + k] + fields[offset + ARKIT_NAMES.index(other)][mirror] * flip) / 2
    return out


if __name__ == "__main__":
    main()
